import { checkEndpoints, checkRepositories } from './rules/addresses.ts';
import { checkAuthorities } from './rules/authority.ts';
import { checkBasicAuth, checkDurations, checkPlaceholders, checkRegistryLeft } from './rules/basics.ts';
import { checkEcr } from './rules/ecr.ts';
import { checkRoles } from './rules/irsa.ts';
import { checkKeys } from './rules/keys.ts';
import type { Rule } from './rules/rule.ts';
import { checkSpokeNames, checkSpokeRegistries } from './rules/spokes.ts';
import { checkNulls, checkTypes } from './rules/types.ts';

/** Every check, in the order in which a reader would make them. */
export const RULES: readonly Rule[] = [
  { name: 'placeholders', check: checkPlaceholders },
  { name: 'keys', check: checkKeys },
  { name: 'types', check: checkTypes },
  { name: 'nulls', check: checkNulls },
  { name: 'endpoints', check: checkEndpoints },
  { name: 'repositories', check: checkRepositories },
  { name: 'durations', check: checkDurations },
  { name: 'basic-auth', check: checkBasicAuth },
  { name: 'authorities', check: checkAuthorities },
  { name: 'ecr', check: checkEcr },
  { name: 'roles', check: checkRoles },
  { name: 'spoke-names', check: checkSpokeNames },
  { name: 'spoke-registries', check: checkSpokeRegistries },
  { name: 'registry-left', check: checkRegistryLeft },
];
