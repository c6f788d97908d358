import type { IncomingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import type { Body } from '../store/body.ts';

/** A request, whoever read it from the connection. */
export interface HttpRequest {
  readonly method: string;
  /** As it stands in the first line of the request. */
  readonly url: string;
  /** Names in lower case. */
  readonly headers: Readonly<IncomingHttpHeaders>;
  readonly socket: Socket;
  /** Whether all of the body has come. */
  readonly complete: boolean;
  /** The body, which is read once. Invites it where the client waits for that. */
  body(): Body;
}

/** Headers of an answer, in lower case. */
export type Headers = Readonly<Record<string, string | number>>;

/** The answer to a request: what the registry uses of `http.ServerResponse`. */
export interface HttpResponse {
  readonly statusCode: number;
  readonly headersSent: boolean;
  /** The connection is gone, or the answer was broken off. */
  readonly destroyed: boolean;
  /** Whether the request is a HEAD, the answer to which has no body. */
  readonly req: { readonly method?: string | undefined };
  /** Adds a header to those of {@link writeHead}: one line for each value. */
  setHeader(name: string, value: string | readonly string[]): unknown;
  writeHead(status: number, headers: Headers): unknown;
  /** @param done is called once the bytes are with the kernel, or with what went wrong */
  write(bytes: string | Uint8Array, done?: (error?: Error | null) => void): boolean;
  end(body?: string | Uint8Array): unknown;
  /** Breaks the connection. */
  destroy(): unknown;
  /** `close`: nothing more is sent, because all is sent or because the connection is gone. */
  once(event: 'close', listener: () => void): unknown;
  off(event: 'close', listener: () => void): unknown;
}
