export { builtinSchemas, builtinType, objectMetaSchema } from './builtin.ts';
export { compileCrdSchema } from './custom.ts';
export { applyDefaults } from './defaults.ts';
export type { SchemaSource, SchemaType, TypeSchema, ValidationRule, ValueChecks } from './types.ts';
export { prune, unknownFields } from './unknown-fields.ts';
