export { builtinSchemas, builtinType, objectMetaSchema } from './builtin.ts';
export { builtinDefaults } from './builtin-defaults.ts';
export { compileCrdSchema } from './custom.ts';
export { applyDefaults } from './defaults.ts';
export { type FieldError, type FieldErrorType, fieldErrorBody, formatFieldErrors } from './field-error.ts';
export { canonicalQuantity, isQuantity } from './quantity.ts';
export type { SchemaSource, SchemaType, TypeSchema, ValidationRule, ValueChecks } from './types.ts';
export { prune, unknownFields } from './unknown-fields.ts';
export { validate } from './validate.ts';
