import { createServer, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { digestOf, MEDIA_TYPES } from '@mural/oci';

/**
 * How it fails: `silent` takes the connection and never answers; `half` sends half of each blob and then
 * nothing; `lying` sends blobs that are not what was asked for.
 */
export type Misbehaviour = 'silent' | 'half' | 'lying';

/** A registry on plain HTTP that holds one artifact under every name and misbehaves. */
export interface StallingRegistry {
  /** `host:port`. */
  readonly host: string;
  /** Requests so far. */
  readonly requests: readonly string[];
  close(): Promise<void>;
}

/** Starts one. */
export async function startStallingRegistry(
  misbehaviour: Misbehaviour,
  layer: Buffer,
): Promise<StallingRegistry> {
  const requests: string[] = [];
  const sockets = new Set<Socket>();
  const config = Buffer.from('{}');
  const describe = (bytes: Buffer, mediaType: string) => ({
    mediaType,
    digest: digestOf(bytes),
    size: bytes.length,
  });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.imageManifest,
      config: describe(config, MEDIA_TYPES.fluxConfig),
      layers: [describe(layer, MEDIA_TYPES.fluxContent)],
    }),
  );
  const server = createServer((request, response) => {
    requests.push(`${request.method ?? ''} ${request.url ?? ''}`);
    if (misbehaviour === 'silent') return;
    if (request.url?.includes('/manifests/') === true) {
      response.writeHead(200, {
        'content-type': MEDIA_TYPES.imageManifest,
        'content-length': manifest.length,
        'docker-content-digest': digestOf(manifest),
      });
      response.end(request.method === 'HEAD' ? undefined : manifest);
      return;
    }
    sendBlob(response, misbehaviour, layer);
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  return { host: await listen(server), requests, close: async () => close(server, sockets) };
}

function sendBlob(response: ServerResponse, misbehaviour: Misbehaviour, layer: Buffer): void {
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': layer.length });
  if (misbehaviour === 'half') {
    response.write(layer.subarray(0, Math.floor(layer.length / 2)));
    return;
  }
  const altered = Buffer.from(layer);
  altered[altered.length - 1] = (altered.at(-1) ?? 0) ^ 1;
  response.end(altered);
}

async function listen(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  return `127.0.0.1:${address.port}`;
}

async function close(server: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  for (const socket of sockets) socket.destroy();
  await closed;
}
