import { MuralError } from '@mural/core';

/** Why no policy can be written or compared. */
export type IamErrorCode =
  | 'NoEcr'
  | 'AccountMissing'
  | 'AccountInvalid'
  | 'IssuerInvalid'
  | 'IssuerMissing'
  | 'SpokeUnknown'
  | 'NameInvalid'
  | 'PolicyInvalid';

/** An error of {@link permissionPolicy}, {@link trustPolicy} and their checks. */
export class IamError extends MuralError<IamErrorCode> {}
