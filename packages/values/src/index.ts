export { type Finding, formatFinding, hasErrors } from './finding.ts';
export {
  BasicAuth,
  HubRegistryValues,
  Provider,
  SpokeRegistryValues,
  SpokeValues,
  Values,
} from './schema.ts';
export { defaultValues, lintValues, type ParsedValues, parseValues } from './values.ts';
