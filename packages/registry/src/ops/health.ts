import { type Clock, SingleFlight } from '@mural/core';
import { RegistryError } from '../errors.ts';
import { send } from '../http/exchange.ts';
import type { StorageState } from '../store/storage-health.ts';
import type { HttpRequest, HttpResponse } from '../wire/message.ts';

/** How long a look at the disk is good, in milliseconds: anybody may ask, and a look at a failing one writes. */
const KEEP_MS = 1000;

interface Check {
  readonly name: 'read' | 'write';
  readonly ok: boolean;
  /** In words that say nothing of the machine. */
  readonly why?: string;
}

/** What {@link Health} asks. */
export interface HealthParts {
  readonly state: () => Promise<StorageState>;
  readonly clock: Clock;
}

/**
 * Liveness and readiness, by the paths and the text that Kubernetes' own components have. Anybody may
 * ask, and learns no more than what is in the way.
 *
 * `/livez`: the process answers. `/readyz` and `/readyz/read`: content is served, which holds in any
 * state of the disk. `/readyz/write`: pushes are stored. The last is apart from `/readyz` so that a
 * full disk takes a registry out of no load balancer and stops no pull.
 */
export class Health {
  readonly #parts: HealthParts;
  readonly #looks = new SingleFlight<StorageState>();
  #last: { readonly state: StorageState; readonly at: number } | undefined;
  #stopping = false;

  constructor(parts: HealthParts) {
    this.#parts = parts;
  }

  /** From now on the registry is not ready: it is being stopped. */
  stopping(): void {
    this.#stopping = true;
  }

  /** The state of the storage, at most a second old. */
  async storage(): Promise<StorageState> {
    const { clock, state } = this.#parts;
    if (this.#last !== undefined && clock.now() - this.#last.at < KEEP_MS) return this.#last.state;
    return await this.#looks.run('state', async () => {
      const found = await state();
      this.#last = { state: found, at: clock.now() };
      return found;
    });
  }

  /**
   * Answers a request for one of its paths; false when it is for another.
   *
   * @throws RegistryError `MethodUnsupported`
   */
  async answer(request: HttpRequest, response: HttpResponse, path: string): Promise<boolean> {
    if (!isHealthPath(path)) return false;
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      throw new RegistryError('MethodUnsupported', 'This method is not supported here.', {
        headers: { allow: 'GET, HEAD' },
      });
    }
    const query = request.url.split('?', 2)[1] ?? '';
    const verbose = new URLSearchParams(query).has('verbose');
    const decisive = await this.#checks(path === '/readyz/write' ? 'write' : 'read', path === '/livez');
    const ok = decisive.every((check) => check.ok);
    const shown =
      verbose && path === '/readyz' ? [...decisive, ...(await this.#checks('write', false))] : decisive;
    const text = verbose || !ok ? textOf(path, shown, ok) : 'ok';
    const headers = { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' };
    send(response, ok ? 200 : 503, headers, text);
    return true;
  }

  async #checks(what: 'read' | 'write', live: boolean): Promise<Check[]> {
    if (live) return [];
    if (this.#stopping) return [{ name: what, ok: false, why: 'the registry is being stopped' }];
    if (what === 'read') return [{ name: 'read', ok: true }];
    const { writable, reason, needsRestart } = await this.storage();
    if (writable) return [{ name: 'write', ok: true }];
    const why = reason === 'full' ? 'the storage is full' : 'the storage cannot be written';
    return [{ name: 'write', ok: false, why: needsRestart === true ? `${why} until a restart` : why }];
  }
}

/** Whether a path is one of {@link Health}. */
export function isHealthPath(path: string): boolean {
  return path === '/livez' || path === '/readyz' || path === '/readyz/read' || path === '/readyz/write';
}

/** As kube-apiserver writes it. */
function textOf(path: string, checks: readonly Check[], ok: boolean): string {
  const lines = checks.map((check) =>
    check.ok ? `[+]${check.name} ok` : `[-]${check.name} failed: ${check.why ?? ''}`,
  );
  return `${[...lines, `${path.slice(1)} check ${ok ? 'passed' : 'failed'}`].join('\n')}\n`;
}
