import type { ServerResponse } from 'node:http';
import type { Stored } from '../objects.ts';
import type { ApiResource } from '../resources/types.ts';

/** One object of a resource; shaped as the client asks. */
export interface ObjectAnswer {
  readonly type: 'object';
  readonly status: number;
  readonly object: Stored;
  readonly resource: ApiResource;
}

/** A list of objects of a resource; shaped as the client asks. */
export interface ListAnswer {
  readonly type: 'list';
  readonly items: readonly Stored[];
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly resource: ApiResource;
}

/** Any other JSON document: a Status, a review, discovery. */
export interface DocumentAnswer {
  readonly type: 'document';
  readonly status: number;
  readonly document: object;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Plain text. */
export interface TextAnswer {
  readonly type: 'text';
  readonly status: number;
  readonly text: string;
  readonly contentType?: string;
}

/** An answer that writes itself: watches and logs. */
export interface StreamAnswer {
  readonly type: 'stream';
  readonly run: (response: ServerResponse) => Promise<void>;
}

export type Answer = ObjectAnswer | ListAnswer | DocumentAnswer | TextAnswer | StreamAnswer;

/** A `Status` of success, as deletions answer it. */
export function success(details: Readonly<Record<string, unknown>>): DocumentAnswer {
  return {
    type: 'document',
    status: 200,
    document: { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', details },
  };
}
