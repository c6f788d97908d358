export { type Finding, formatFinding, hasErrors } from './finding.ts';
export {
  BasicAuth,
  HubRegistryValues,
  Provider,
  SpokeRegistryValues,
  SpokeValues,
  Values,
} from './schema.ts';
export { type FixedValues, fixValues } from './fix.ts';
export { lintValues } from './lint.ts';
export { defaultValues, type ParsedValues, parseValues } from './values.ts';
