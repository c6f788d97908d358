import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';

/** The `Authorization` of a name and password. */
export function basic(name: string, password: string): string {
  return `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;
}

/** A request that came from an address. */
export function requestWith(
  headers: Readonly<Record<string, string>>,
  source = '192.0.2.1',
): IncomingMessage {
  const socket = new Socket();
  Object.defineProperty(socket, 'remoteAddress', { value: source });
  const request = new IncomingMessage(socket);
  Object.assign(request.headers, headers);
  return request;
}
