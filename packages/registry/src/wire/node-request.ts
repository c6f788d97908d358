import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Body, bodyOfPieces } from '../store/body.ts';
import type { HttpRequest } from './message.ts';
import { Pace } from './pace.ts';

/**
 * A request that Node has read.
 *
 * @param now milliseconds
 */
export function fromNode(message: IncomingMessage, response: ServerResponse, now: () => number): HttpRequest {
  return {
    method: message.method ?? '',
    url: message.url ?? '/',
    headers: message.headers,
    socket: message.socket,
    get complete() {
      return message.complete;
    },
    // Leaving the loop early does not tear the connection down, so that the request can still be answered.
    body: (): Body => {
      if (message.headers.expect !== undefined) response.writeContinue();
      const pieces = message.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
      return bodyOfPieces(steady(pieces, new Pace(now)));
    },
  };
}

/** The same pieces, as long as they keep pace. */
export async function* steady(pieces: AsyncIterable<Buffer>, pace: Pace): AsyncGenerator<Buffer> {
  pace.waiting();
  for await (const piece of pieces) {
    pace.received(piece.length);
    yield piece;
    pace.waiting();
  }
}
