import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

/** The ports that a hub listens on. */
export interface Ports {
  readonly api: number;
  readonly registry: number;
  readonly console: number;
}

/**
 * The ports for a run: those of the run before, so that nothing that was noted down goes stale;
 * else the usual ones; and where another program has one of them, any.
 */
export async function choosePorts(readyFile: string): Promise<Ports> {
  const before = previous(readyFile);
  return {
    api: await firstFree(before.api, 7443),
    registry: await firstFree(before.registry, 5000),
    console: await firstFree(before.console, 8080),
  };
}

function previous(file: string): Partial<Ports> {
  try {
    const urls = JSON.parse(readFileSync(file, 'utf8')) as Partial<Record<keyof Ports, string>>;
    const names = ['api', 'registry', 'console'] as const;
    return Object.fromEntries(
      names
        .map((name) => [name, Number(URL.parse(urls[name] ?? '')?.port ?? Number.NaN)] as const)
        .filter(([, port]) => port > 0),
    );
  } catch {
    return {};
  }
}

async function firstFree(...ports: readonly (number | undefined)[]): Promise<number> {
  for (const port of ports) if (port !== undefined && (await isFree(port))) return port;
  return 0;
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}
