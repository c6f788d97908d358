import { randomBytes } from 'node:crypto';
import { Agent, request as httpRequest } from 'node:http';
import { type Digest, digestOf } from '../names.ts';

/** What a stress of collections against clients came to. */
export interface StressResult {
  /** Images whose push was acknowledged. */
  pushed: number;
  /** Blobs that a HEAD said were there, and that were mounted or used then. */
  reused: number;
  deleted: number;
  /** Answers with 404 to a HEAD, GET or DELETE of what may be gone. */
  absent: number;
  /** Anything that should not have happened. */
  readonly errors: string[];
}

interface Image {
  readonly digest: Digest;
  readonly blobs: readonly Digest[];
}

interface Answer {
  readonly status: number;
  readonly body: Buffer;
  readonly location: string;
}

const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const KEPT = 8;
const SHARED = 24;

/**
 * Clients that push, look with HEAD and then mount or use what is there, and delete, against a registry that
 * collects all the while. Whatever a client was told is there must be there when it is used next;
 * every acknowledged image that was not deleted must be readable, with the bytes of its digests.
 *
 * @param until checked between two images
 */
export async function stress(options: {
  readonly host: string;
  readonly clients: number;
  readonly until: () => boolean;
}): Promise<StressResult> {
  const result: StressResult = { pushed: 0, reused: 0, deleted: 0, absent: 0, errors: [] };
  // Contents that all clients push again and again, so that they meet one that is being collected.
  const shared = Array.from({ length: SHARED }, (_, index) =>
    Buffer.concat([Buffer.from(`shared ${index} `), randomBytes(index % 5 === 0 ? 300_000 : 200)]),
  );
  const agent = new Agent({ keepAlive: true });
  try {
    await Promise.all(
      Array.from(
        { length: options.clients },
        (_, index) => new Client(index, options.host, agent, shared, result),
      ).map((client) => client.run(options.until)),
    );
  } finally {
    agent.destroy();
  }
  return result;
}

class Client {
  readonly #repository: string;
  readonly #neighbour: string;
  readonly #host: string;
  readonly #agent: Agent;
  readonly #shared: readonly Buffer[];
  readonly #result: StressResult;
  #kept: Image[] = [];

  constructor(index: number, host: string, agent: Agent, shared: readonly Buffer[], result: StressResult) {
    this.#repository = `stress/r${index % 6}/c${index}`;
    this.#neighbour = `stress/r${(index + 1) % 6}/c${(index + 1) % 16}`;
    this.#host = host;
    this.#agent = agent;
    this.#shared = shared;
    this.#result = result;
  }

  async run(until: () => boolean): Promise<void> {
    for (let turn = 0; !until(); turn += 1) {
      try {
        await this.#push(turn);
        if (this.#kept.length > KEPT) await this.#delete(turn);
        if (turn % 7 === 0) await this.#readAll();
      } catch (error) {
        this.#fail(String(error));
      }
    }
    await this.#readAll();
  }

  async #push(turn: number): Promise<void> {
    const fresh = randomBytes(turn % 11 === 0 ? 400_000 : 300);
    const contents = [Buffer.from('{}'), this.#pick(), this.#pick(), fresh];
    const blobs: Digest[] = [];
    for (const content of contents) blobs.push(await this.#ensure(content));
    const [config, ...layers] = contents.map((content) => ({
      mediaType: 'application/octet-stream',
      digest: digestOf(content),
      size: content.length,
    }));
    const manifest = JSON.stringify({ schemaVersion: 2, mediaType: IMAGE, config, layers, turn });
    const path = `/v2/${this.#repository}/manifests/t${turn % 5}`;
    const put = await this.#send('PUT', path, Buffer.from(manifest), { 'content-type': IMAGE });
    if (put.status !== 201) {
      this.#fail(`PUT of a manifest: ${put.status} ${put.body.toString().slice(0, 200)}`);
      return;
    }
    this.#result.pushed += 1;
    this.#kept.push({ digest: digestOf(Buffer.from(manifest)), blobs });
  }

  /** As clients do: look, else mount, else upload. */
  async #ensure(content: Buffer): Promise<Digest> {
    const digest = digestOf(content);
    const head = await this.#send('HEAD', `/v2/${this.#repository}/blobs/${digest}`);
    if (head.status === 200) {
      this.#result.reused += 1;
      return digest;
    }
    if (head.status !== 404) this.#fail(`HEAD of a blob: ${head.status}`);
    this.#result.absent += 1;
    const there = await this.#send('HEAD', `/v2/${this.#neighbour}/blobs/${digest}`);
    const mount = there.status === 200 ? `?mount=${digest}&from=${this.#neighbour}` : '';
    const begun = await this.#send('POST', `/v2/${this.#repository}/blobs/uploads/${mount}`);
    if (begun.status === 201) {
      this.#result.reused += 1;
      return digest;
    }
    // The neighbour may delete between a HEAD and the mount: then an upload begins.
    const put = await this.#send('PUT', `${begun.location}?digest=${digest}`, content);
    if (put.status !== 201) this.#fail(`PUT of a blob: ${put.status} ${put.body.toString().slice(0, 200)}`);
    return digest;
  }

  async #delete(turn: number): Promise<void> {
    const image = this.#kept.splice(turn % this.#kept.length, 1)[0];
    const answer = await this.#send('DELETE', `/v2/${this.#repository}/manifests/${image?.digest}`);
    if (answer.status === 202) this.#result.deleted += 1;
    else this.#fail(`DELETE of a manifest: ${answer.status}`);
  }

  async #readAll(): Promise<void> {
    for (const { digest, blobs } of this.#kept) {
      await this.#read('manifests', digest);
      for (const blob of blobs) await this.#read('blobs', blob);
    }
  }

  async #read(kind: string, digest: Digest): Promise<void> {
    const answer = await this.#send('GET', `/v2/${this.#repository}/${kind}/${digest}`);
    if (answer.status !== 200 || digestOf(answer.body) !== digest) {
      this.#fail(`LOST: ${kind} ${digest} of an image that was not deleted: ${answer.status}`);
    }
  }

  #pick(): Buffer {
    return this.#shared[Math.floor(Math.random() * this.#shared.length)] ?? Buffer.of();
  }

  #fail(what: string): void {
    if (this.#result.errors.length < 100) this.#result.errors.push(`${this.#repository}: ${what}`);
  }

  #send(method: string, path: string, body?: Buffer, headers: Record<string, string> = {}): Promise<Answer> {
    const [hostname = '', port = ''] = this.#host.split(':');
    const length = body === undefined ? {} : { 'content-length': String(body.length) };
    return new Promise((resolve, reject) => {
      const options = {
        hostname,
        port,
        method,
        path,
        agent: this.#agent,
        headers: { ...headers, ...length },
      };
      const request = httpRequest(options, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const { statusCode = 0, headers: sent } = response;
          resolve({ status: statusCode, body: Buffer.concat(chunks), location: String(sent.location) });
        });
      });
      request.on('error', reject);
      request.end(body);
    });
  }
}
