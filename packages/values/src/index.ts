export { type Finding, formatFinding, hasErrors } from './finding.ts';
export {
  BasicAuth,
  HubRegistryValues,
  Provider,
  SpokeRegistryValues,
  SpokeValues,
  Values,
} from './schema.ts';
export { checkPermissionPolicy } from './iam/check-permissions.ts';
export { checkTrustPolicy } from './iam/check-trust.ts';
export { formatJudgement, type Judgement } from './iam/document.ts';
export { IamError, type IamErrorCode } from './iam/errors.ts';
export {
  type EcrRole,
  type PermissionOptions,
  permissionPolicy,
  type Policy,
  type PolicyStatement,
} from './iam/permissions.ts';
export { ecrRepositories, type EcrRepositories, type EcrRepository } from './iam/registries.ts';
export {
  rolesOf,
  spokesWithoutIssuer,
  type TrustOptions,
  trustPolicy,
  type TrustPolicy,
  type TrustStatement,
} from './iam/trust.ts';
export { valuesSchema } from './json-schema.ts';
export { type FixedValues, fixValues } from './fix.ts';
export { lintValues } from './lint.ts';
export { problemOfCa } from './rules/authority.ts';
export { defaultValues, type ParsedValues, parseValues } from './values.ts';
