import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { hashSync } from 'bcryptjs';
import { Connection, requestHead, type Target } from './connection.ts';
import { childrenOf } from './measure.ts';

/** A registry of the comparison. */
export type PeerName = 'mural' | 'distribution' | 'zot' | 'olareg';
export const PEERS: readonly PeerName[] = ['mural', 'distribution', 'zot', 'olareg'];

/** How a registry is started. */
export interface PeerSetup {
  readonly tls: { readonly cert: string; readonly key: string; readonly ca: string } | undefined;
  /** Basic authentication for everything; else everything is open to all. */
  readonly auth: boolean;
  /** Where mural keeps its data, which then stay when it stops. */
  readonly data?: string;
}

/** A registry that runs. */
export interface RunningPeer {
  readonly name: PeerName;
  readonly target: Target;
  readonly pid: number;
  readonly authorization: string | undefined;
  stop(): Promise<void>;
}

const USER = 'bench';
const PASSWORD = 'bench-password';
/** The lowest that bcrypt knows, with which the peers are fastest. */
const BCRYPT_COST = 4;
const READY_MS = 20_000;
const HOST = '127.0.0.1';
const TOOLS = join(process.env['MURAL_TOOLS'] ?? join(homedir(), '.cache', 'mural-tools'), 'bin');
const ROOT = join(import.meta.dirname, '..', '..');

/** The program of a peer, or `undefined` when it is not there. */
export function binaryOf(name: PeerName): string | undefined {
  if (name === 'mural') return process.execPath;
  const path = name === 'zot' ? process.env['ZOT'] : join(TOOLS, name);
  if (path === undefined) return undefined;
  try {
    accessSync(path, constants.X_OK);
    return path;
  } catch {
    return undefined;
  }
}

/** What to do to have a peer. */
export function hintOf(name: PeerName): string {
  return name === 'zot' ? 'build cmd/zot of project-zot/zot and name it in ZOT' : `test/tools/get ${name}`;
}

/** Starts a registry on a free port of loopback, with its state and its log in `folder`. */
export async function startPeer(name: PeerName, folder: string, setup: PeerSetup): Promise<RunningPeer> {
  const binary = binaryOf(name);
  if (binary === undefined) throw new Error(`${name} is not installed: ${hintOf(name)}`);
  mkdirSync(folder, { recursive: true });
  const port = await freePort();
  const htpasswd = join(folder, 'htpasswd');
  const hash = hashSync(PASSWORD, BCRYPT_COST);
  writeFileSync(htpasswd, `${USER}:${hash}\n`);
  const { args, environment } = COMMANDS[name]({ folder, port, htpasswd, hash, setup });
  const log = openSync(join(folder, 'log'), 'a');
  const child = spawn(binary, args, {
    cwd: ROOT,
    env: { ...process.env, ...environment },
    stdio: ['ignore', log, log],
  });
  const exited = once(child, 'exit');
  const target = { host: HOST, port, ca: setup.tls?.ca };
  await ready(target, exited, join(folder, 'log'));
  const pid = child.pid ?? 0;
  const basic = `Basic ${Buffer.from(`${USER}:${PASSWORD}`).toString('base64')}`;
  return {
    name,
    target,
    pid: childrenOf(pid)[0] ?? pid,
    authorization: setup.auth ? basic : undefined,
    async stop() {
      child.kill('SIGTERM');
      await exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

interface CommandInput {
  readonly folder: string;
  readonly port: number;
  readonly htpasswd: string;
  readonly hash: string;
  readonly setup: PeerSetup;
}
interface Command {
  readonly args: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

const COMMANDS: Readonly<Record<PeerName, (input: CommandInput) => Command>> = {
  mural: muralCommand,
  distribution: distributionCommand,
  zot: zotCommand,
  olareg: olaregCommand,
};

function muralCommand({ folder, port, htpasswd, setup }: CommandInput): Command {
  const { tls, auth } = setup;
  return {
    args: [
      join(ROOT, 'packages', 'cli', 'bin', 'mural.js'),
      ...['registry', 'serve', '--data', setup.data ?? join(folder, 'data'), '--port', `${port}`],
      ...(tls === undefined ? ['--no-tls'] : ['--tls-cert', tls.cert, '--tls-key', tls.key]),
      ...(auth ? ['--htpasswd', htpasswd] : ['--anonymous', 'push']),
    ],
  };
}

function distributionCommand({ folder, port, htpasswd, setup }: CommandInput): Command {
  const { tls, auth } = setup;
  const config = {
    version: 0.1,
    storage: {
      filesystem: { rootdirectory: join(folder, 'data') },
      delete: { enabled: true },
      cache: { blobdescriptor: 'inmemory' },
    },
    http: {
      addr: `${HOST}:${port}`,
      secret: 'bench',
      ...(tls === undefined ? {} : { tls: { certificate: tls.cert, key: tls.key } }),
    },
    ...(auth ? { auth: { htpasswd: { realm: 'bench', path: htpasswd } } } : {}),
  };
  const path = join(folder, 'config.yaml');
  writeFileSync(path, JSON.stringify(config));
  return { args: ['serve', path], environment: { OTEL_TRACES_EXPORTER: 'none' } };
}

function zotCommand({ folder, port, htpasswd, setup }: CommandInput): Command {
  const { tls, auth } = setup;
  const config = {
    distSpecVersion: '1.1.1',
    storage: { rootDirectory: join(folder, 'data'), gc: false, dedupe: true },
    http: {
      address: HOST,
      port: `${port}`,
      ...(tls === undefined ? {} : { tls: { cert: tls.cert, key: tls.key } }),
      ...(auth ? { auth: { htpasswd: { path: htpasswd } } } : {}),
    },
    log: { level: 'info' },
  };
  const path = join(folder, 'config.json');
  writeFileSync(path, JSON.stringify(config));
  return { args: ['serve', path] };
}

function olaregCommand({ folder, port, hash, setup }: CommandInput): Command {
  const { tls, auth } = setup;
  const users = join(folder, 'auth.yaml');
  writeFileSync(
    users,
    JSON.stringify({
      users: { [USER]: { cred: hash } },
      acls: [{ repo: '*', members: [USER], access: ['*'] }],
    }),
  );
  mkdirSync(join(folder, 'data'), { recursive: true });
  return {
    args: [
      ...['serve', '--addr', HOST, '--port', `${port}`, '--dir', join(folder, 'data')],
      ...['--api-delete', '--api-blob-delete', '--verbosity', 'info'],
      ...(tls === undefined ? [] : ['--tls-cert', tls.cert, '--tls-key', tls.key]),
      ...(auth ? ['--auth-basic', users] : []),
    ],
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, HOST);
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}

async function ready(target: Target, exited: Promise<unknown>, log: string): Promise<void> {
  const state = { exited: false };
  void exited.then(() => {
    state.exited = true;
  });
  for (const end = Date.now() + READY_MS; Date.now() < end && !state.exited; ) {
    try {
      const connection = await Connection.open(target);
      const { status } = await connection.send([requestHead('GET', '/v2/', target)]);
      connection.close();
      if (status === 200 || status === 401) return;
    } catch {
      // It does not listen yet.
    }
    await sleep(50);
  }
  throw new Error(`a registry did not start: see ${log}`);
}
