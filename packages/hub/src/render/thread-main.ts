import { parentPort } from 'node:worker_threads';
import { errorMessage } from '@mural/core';
import { RenderError } from '../errors.ts';
import { renderWorkload } from './render.ts';
import type { RenderAnswer, RenderRequest } from './thread.ts';

/** Answers one request; several may be under way while programs run. */
async function answer({ id, input }: RenderRequest): Promise<RenderAnswer> {
  try {
    return { id, rendering: await renderWorkload(input) };
  } catch (error) {
    const known = error instanceof RenderError ? error : undefined;
    return {
      id,
      error: {
        code: known?.code,
        message: errorMessage(error),
        hint: known?.hint,
        // Facts are names and positions; going through JSON keeps out what cannot be sent.
        facts: JSON.parse(JSON.stringify(known?.facts ?? {})) as Record<string, unknown>,
      },
    };
  }
}

parentPort?.on('message', (request: RenderRequest) => {
  void answer(request).then((reply) => parentPort?.postMessage(reply));
});
