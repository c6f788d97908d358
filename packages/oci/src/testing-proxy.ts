import { createServer, type IncomingMessage, request as httpRequest } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';

/** What a {@link FakeProxy} was asked for. */
export interface SeenByProxy {
  /** `CONNECT host:port`, or method and absolute URL of a forwarded request. */
  readonly asked: string;
  readonly authorization: string | undefined;
}

/**
 * An HTTP proxy for tests that leads every host to one server on the loopback, so that hosts of the world
 * can be played without touching the machine's names.
 */
export interface FakeProxy {
  /** `http://127.0.0.1:port` */
  readonly url: string;
  readonly seen: readonly SeenByProxy[];
  close(): Promise<void>;
}

/**
 * @param route the port on 127.0.0.1 that a `host:port` leads to; `undefined` for what the proxy refuses
 * @param authorization the `Proxy-Authorization` that it wants
 */
export async function startFakeProxy(
  route: (target: string) => number | undefined,
  authorization?: string,
): Promise<FakeProxy> {
  const seen: SeenByProxy[] = [];
  const sockets = new Set<Socket>();
  const note = (request: IncomingMessage): boolean => {
    const given = request.headers['proxy-authorization'];
    seen.push({ asked: `${request.method ?? ''} ${request.url ?? ''}`, authorization: given });
    return authorization === undefined || given === authorization;
  };
  const server = createServer((request, response) => {
    const target = new URL(request.url ?? '');
    const port = note(request) ? route(`${target.hostname}:${target.port || '80'}`) : undefined;
    if (port === undefined) {
      response.writeHead(407).end();
      return;
    }
    const onward = httpRequest(
      { host: '127.0.0.1', port, method: request.method, path: target.pathname, headers: request.headers },
      (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      },
    );
    onward.on('error', () => response.destroy());
    request.pipe(onward);
  });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => undefined);
  });
  server.on('connect', (request: IncomingMessage, socket: Socket) => {
    const allowed = note(request);
    const port = allowed ? route(request.url ?? '') : undefined;
    if (port === undefined) {
      socket.end(`HTTP/1.1 ${allowed ? '502 Bad Gateway' : '407 Proxy Authentication Required'}\r\n\r\n`);
      return;
    }
    const upstream = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      upstream.pipe(socket).pipe(upstream);
    });
    upstream.on('error', () => socket.destroy());
    socket.on('close', () => upstream.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    seen,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
