import { MuralError } from '@mural/core';

/** Why a migration cannot begin, go on or be rolled back. */
export type MigrationErrorCode =
  | 'SameRegistry'
  | 'ValuesDiffer'
  | 'OtherMigration'
  | 'RollbackUnderWay'
  | 'NothingToRollBack'
  | 'StateUnreadable'
  | 'Interleaved'
  | 'Held'
  | 'RegistryUnusable'
  | 'ArtifactElsewhere'
  | 'ArtifactMissing'
  | 'CopyIncomplete'
  | 'TagTaken'
  | 'HubSilent'
  | 'SpokeRegistryFixed'
  | 'SpokeNotMoved'
  | 'SpokesSilent';

/** A migration that stopped. What was done stays done, and running it again goes on from there. */
export class MigrationError extends MuralError<MigrationErrorCode> {}
