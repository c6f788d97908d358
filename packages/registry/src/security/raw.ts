import { connect } from 'node:net';

/** One connection on which a test says every byte. */
export class RawConnection {
  received = '';
  closed = false;
  /** Resolves when the connection is over. */
  readonly ended: Promise<void>;
  readonly #socket;

  /** @param host `127.0.0.1:5000` */
  constructor(host: string) {
    const [name = '', port = ''] = host.split(':');
    this.#socket = connect(Number(port), name);
    this.#socket.on('data', (chunk) => (this.received += chunk.toString('latin1')));
    this.#socket.on('error', () => undefined);
    this.ended = new Promise((resolve) => {
      this.#socket.on('close', () => {
        this.closed = true;
        resolve();
      });
    });
  }

  write(text: string | Buffer): void {
    if (!this.#socket.destroyed) this.#socket.write(text);
  }

  /** Bytes that the other side has not taken yet. */
  get waiting(): number {
    return this.#socket.writableLength;
  }

  /** Statuses of the answers so far. */
  get statuses(): number[] {
    return [...this.received.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

/** Sends a text, and resolves once the other side has closed the connection. */
export async function exchangeRaw(host: string, text: string | Buffer): Promise<RawConnection> {
  const connection = new RawConnection(host);
  connection.write(text);
  await connection.ended;
  return connection;
}
