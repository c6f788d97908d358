import { MuralError } from '@mural/core';

/**
 * What is wrong with a patch. `BadRequest` answers 400, `Invalid` 422; both with the API's words.
 */
export type PatchErrorCode = 'BadRequest' | 'Invalid';

/** A patch cannot be read or does not fit the object. */
export class PatchError extends MuralError<PatchErrorCode> {}
