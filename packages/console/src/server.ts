import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { errorMessage, type Logger, silentLogger } from '@mural/core';
import { refuse, secure } from './answer.ts';
import { type Asset, isKnown, loadAssets } from './assets.ts';
import { createForwarder, type Forwarder, type Upstream } from './forward.ts';
import { routeOf } from './requests.ts';

/** Certificate and key in PEM. */
export interface ConsoleTls {
  readonly cert: string;
  readonly key: string;
}

/** What the console is started with. */
export interface ConsoleOptions {
  /** Address to listen on; loopback unless given. */
  readonly listen?: string;
  /** 0 for any that is free. */
  readonly port: number;
  readonly tls: ConsoleTls;
  /** The Kubernetes API that the page shows. */
  readonly api: Upstream;
  readonly log?: Logger;
}

/** A console that serves. */
export interface RunningConsole {
  /** URL of the page. */
  readonly url: string;
  /** Uses another certificate for connections from now on. */
  setTls(tls: ConsoleTls): void;
  /** Ends what is under way and stops listening. */
  close(): Promise<void>;
}

const MAX_CONNECTIONS = 1024;

/**
 * Serves the page of the console and, on the same origin, hands its requests on to the Kubernetes
 * API with the bearer token that the browser sends, and nothing else. It only reads.
 *
 * @throws Error of `listen` (`EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`)
 */
export async function startConsole(options: ConsoleOptions): Promise<RunningConsole> {
  const log = options.log ?? silentLogger;
  const assets = await loadAssets();
  const forwarder = createForwarder(options.api, log);
  const server = createServer({
    cert: options.tls.cert,
    key: options.tls.key,
    minVersion: 'TLSv1.2',
    handshakeTimeout: 10_000,
    maxHeaderSize: 32 * 1024,
    headersTimeout: 10_000,
    requestTimeout: 15_000,
    keepAliveTimeout: 30_000,
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    void handle({ request, response, assets, forwarder, log });
  });
  try {
    server.listen(options.port, options.listen ?? '127.0.0.1');
    await once(server, 'listening');
  } catch (error) {
    await forwarder.close();
    throw error;
  }
  return {
    url: urlOf(server),
    setTls: (tls) => server.setSecureContext({ cert: tls.cert, key: tls.key, minVersion: 'TLSv1.2' }),
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await Promise.all([closed, forwarder.close()]);
    },
  };
}

interface Handling {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly assets: ReadonlyMap<string, Asset>;
  readonly forwarder: Forwarder;
  readonly log: Logger;
}

async function handle({ request, response, assets, forwarder, log }: Handling): Promise<void> {
  response.on('error', () => undefined);
  secure(response);
  try {
    const route = routeOf(request);
    if (route.to === 'api') await forwarder.forward(request, response, route.target);
    else if (route.to === 'asset') sendAsset(request, response, assets.get(route.path));
    else refuse(response, route.refusal);
  } catch (error) {
    log.error({ error: errorMessage(error) }, 'the console failed to answer');
    if (response.headersSent) response.destroy();
    else refuse(response, { code: 500, reason: 'InternalError', message: 'the console failed' });
  }
}

function sendAsset(request: IncomingMessage, response: ServerResponse, asset: Asset | undefined): void {
  if (asset === undefined) {
    refuse(response, { code: 404, reason: 'NotFound', message: 'there is no such path' });
    return;
  }
  const headers = { etag: asset.etag, 'cache-control': 'no-cache' };
  if (isKnown(asset, request.headers['if-none-match'])) {
    response.writeHead(304, headers);
    response.end();
    return;
  }
  const length = asset.body.byteLength;
  response.writeHead(200, { ...headers, 'content-type': asset.contentType, 'content-length': length });
  response.end(asset.body);
}

function urlOf(server: Server): string {
  const { address, family, port } = server.address() as AddressInfo;
  return `https://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}
