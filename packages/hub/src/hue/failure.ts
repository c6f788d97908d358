import { errorMessage, MuralError } from '@mural/core';
import { ReconcileError } from '@mural/kube';
import { OciError } from '@mural/oci';
import { RenderError } from '../errors.ts';

/** Message and facts of whatever was thrown, with its code where that tells more than the message. */
export function failureOf(error: unknown): { message: string; facts: Readonly<Record<string, unknown>> } {
  const known = error instanceof MuralError ? error : undefined;
  const hint = known?.hint === undefined ? '' : `. ${known.hint}`;
  const prefix = error instanceof OciError ? `${error.code}: ` : '';
  return { message: `${prefix}${errorMessage(error)}${hint}`, facts: known?.facts ?? {} };
}

/** A missing program or artifact may turn up without any object changing. */
const LOOK_AGAIN_MS = 60_000;

/**
 * What a failed step means for the object: whether waiting helps, and which reason its conditions get.
 *
 * @param ociReason reason for an error of the registry, which depends on the step
 */
export function toReconcileError(error: unknown, ociReason: string): ReconcileError {
  if (error instanceof ReconcileError) return error;
  const { message, facts } = failureOf(error);
  if (error instanceof OciError) {
    return new ReconcileError('generic', ociReason, message, {
      cause: error,
      facts: { ...facts, code: error.code },
    });
  }
  if (error instanceof RenderError) {
    const again = error.code === 'RendererMissing' || error.code === 'ArtifactInvalid';
    return again
      ? new ReconcileError('waiting', error.code, message, {
          cause: error,
          facts,
          requeueAfterMs: LOOK_AGAIN_MS,
        })
      : new ReconcileError('stalling', error.code, message, { cause: error, facts });
  }
  const code = error instanceof MuralError ? (error as MuralError).code : 'InternalError';
  return new ReconcileError('generic', code, message, { cause: error, facts });
}
