import type { IncomingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import type { Body } from '../store/body.ts';
import type { Head } from './head.ts';
import type { HttpRequest } from './message.ts';
import type { PlainBody } from './plain-body.ts';

/** A request whose head was plain. */
export class PlainRequest implements HttpRequest {
  readonly socket: Socket;
  readonly #head: Head;
  readonly #body: PlainBody;

  constructor(socket: Socket, head: Head, body: PlainBody) {
    this.socket = socket;
    this.#head = head;
    this.#body = body;
  }

  get method(): string {
    return this.#head.method;
  }

  get url(): string {
    return this.#head.url;
  }

  get headers(): Readonly<IncomingHttpHeaders> {
    return this.#head.headers;
  }

  get complete(): boolean {
    return this.#body.left === 0;
  }

  body(): Body {
    return this.#body;
  }
}
