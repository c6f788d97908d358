import { X509Certificate } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '@mural/core';
import { FakeClock } from '@mural/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ensureCertificates } from './certificates.ts';
import { createFolders, layoutOf } from './layout.ts';
import { lockFolder } from './lock.ts';
import { LogFile } from './log-file.ts';
import { advertisedAddress, certificateNames, hostPort, probe } from './network.ts';
import { keptSecret } from './secrets.ts';
import { Stack } from './stack.ts';

const DAY = 86_400_000;
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mural-home-'));
});
afterEach(async () => rm(folder, { recursive: true, force: true }));

async function modeOf(path: string): Promise<string> {
  return ((await stat(path)).mode & 0o777).toString(8);
}

describe('the data folder', () => {
  it('is closed to everybody else, even when it was open before', async () => {
    const layout = layoutOf(join(folder, 'data'));
    await mkdir(layout.root, { mode: 0o755 });
    await createFolders(layout, ['tls', 'secrets', 'registry']);
    for (const path of [layout.root, layout.tls, layout.secrets, layout.registry]) {
      expect(await modeOf(path)).toBe('700');
    }
  });

  it('belongs to one process at a time', () => {
    const lock = lockFolder(join(folder, 'lock.db'), folder);
    expect(() => lockFolder(join(folder, 'lock.db'), folder)).toThrow(
      expect.objectContaining({ code: 'DataDirInUse', message: expect.stringContaining(folder) as string }),
    );
    lock.release();
    lockFolder(join(folder, 'lock.db'), folder).release();
  });
});

describe('secrets', () => {
  it('are made once, for their owner alone', async () => {
    const first = await keptSecret(folder, 'admin-token');
    expect(Buffer.from(first, 'base64url')).toHaveLength(32);
    expect(await modeOf(join(folder, 'admin-token'))).toBe('600');
    expect(await keptSecret(folder, 'admin-token')).toBe(first);
    expect(await keptSecret(folder, 'other-token')).not.toBe(first);
  });

  it('are made anew where the file is empty', async () => {
    await writeFile(join(folder, 'admin-token'), '');
    expect(await keptSecret(folder, 'admin-token')).not.toBe('');
  });
});

describe('certificates', () => {
  const names = ['localhost', '127.0.0.1', '::1'];

  it('cover every name, come from the CA, and are kept', async () => {
    const clock = new FakeClock();
    const made = await ensureCertificates(folder, names, clock);
    const server = new X509Certificate(made.server.cert);
    expect(server.checkIssued(new X509Certificate(made.ca))).toBe(true);
    expect(server.verify(new X509Certificate(made.ca).publicKey)).toBe(true);
    expect(server.checkHost('localhost')).toBe('localhost');
    expect(server.checkIP('127.0.0.1')).toBe('127.0.0.1');
    expect(server.checkIP('::1')).toBe('::1');
    expect(server.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1');
    expect(await modeOf(join(folder, 'ca.key'))).toBe('600');
    expect(await modeOf(join(folder, 'server.key'))).toBe('600');
    expect(await ensureCertificates(folder, names, clock)).toEqual(made);
  });

  it('are renewed well before they expire, from the same CA', async () => {
    const clock = new FakeClock();
    const made = await ensureCertificates(folder, names, clock);
    await clock.advance(200 * DAY);
    expect((await ensureCertificates(folder, names, clock)).server).toEqual(made.server);
    await clock.advance(100 * DAY);
    const renewed = await ensureCertificates(folder, names, clock);
    expect(renewed.ca).toBe(made.ca);
    expect(renewed.server.cert).not.toBe(made.server.cert);
  });

  it('are replaced when a name is missing, or the key does not fit', async () => {
    const clock = new FakeClock();
    const made = await ensureCertificates(folder, names, clock);
    const more = await ensureCertificates(folder, [...names, '10.0.0.7'], clock);
    expect(new X509Certificate(more.server.cert).checkIP('10.0.0.7')).toBe('10.0.0.7');
    await writeFile(join(folder, 'server.key'), made.server.key);
    const repaired = await ensureCertificates(folder, names, clock);
    expect(repaired.server.cert).not.toBe(more.server.cert);
  });
});

describe('addresses', () => {
  it('tells clients the address that is listened on, or one that others reach', () => {
    expect(advertisedAddress('127.0.0.1')).toBe('127.0.0.1');
    expect(advertisedAddress('0.0.0.0', 'hub.example')).toBe('hub.example');
    expect(advertisedAddress('0.0.0.0')).not.toBe('0.0.0.0');
    expect(certificateNames('127.0.0.1', '127.0.0.1')).toEqual(['localhost', '127.0.0.1', '::1']);
    expect(certificateNames('0.0.0.0', 'hub.example')).toContain('hub.example');
    expect(hostPort('::1', 5000)).toBe('[::1]:5000');
  });

  it('names the flag of a port in use', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    try {
      await expect(probe([{ flag: '--registry-port', listen: '127.0.0.1', port }])).rejects.toMatchObject({
        code: 'AddressInUse',
        message: expect.stringContaining(String(port)) as string,
        hint: expect.stringContaining('--registry-port') as string,
      });
    } finally {
      server.close();
    }
  });

  it('says when the machine has no such address', async () => {
    await expect(probe([{ flag: '--port', listen: '192.0.2.1', port: 0 }])).rejects.toMatchObject({
      code: 'AddressUnavailable',
    });
  });
});

describe('a log', () => {
  async function linesOf(log: LogFile, query: Partial<Parameters<LogFile['read']>[0]>): Promise<string[]> {
    const chunks: Uint8Array[] = [];
    const whole = { follow: false, timestamps: false, ...query };
    for await (const chunk of log.read(whole, new AbortController().signal)) chunks.push(chunk);
    return Buffer.concat(chunks).toString().split('\n').slice(0, -1);
  }

  it('answers tail, since, timestamps and limits', async () => {
    const clock = new FakeClock();
    const log = await LogFile.open(join(folder, 'hue.log'), clock);
    log.write('one\n');
    await clock.advance(60_000);
    log.write('two\n');
    log.write('three\n');
    expect(await linesOf(log, {})).toEqual(['one', 'two', 'three']);
    expect(await linesOf(log, { tailLines: 1 })).toEqual(['three']);
    expect(await linesOf(log, { tailLines: 0 })).toEqual([]);
    expect(await linesOf(log, { sinceSeconds: 30 })).toEqual(['two', 'three']);
    expect(await linesOf(log, { timestamps: true, tailLines: 1 })).toEqual([
      '2026-01-01T00:01:00.000Z three',
    ]);
    const chunks: string[] = [];
    const limited = log.read({ follow: false, timestamps: false, limitBytes: 6 }, AbortSignal.timeout(1000));
    for await (const chunk of limited) chunks.push(Buffer.from(chunk).toString());
    expect(chunks.join('')).toBe('one\ntw');
    await log.close();
  });

  it('goes on with what comes, until the reader leaves', async () => {
    const log = await LogFile.open(join(folder, 'hue.log'), new FakeClock());
    log.write('before\n');
    const controller = new AbortController();
    const lines: string[] = [];
    const reading = (async () => {
      const query = { follow: true, timestamps: false };
      for await (const chunk of log.read(query, controller.signal)) {
        lines.push(Buffer.from(chunk).toString());
        if (lines.length === 1) log.write('after\n');
        if (lines.length === 2) controller.abort();
      }
    })();
    await reading;
    expect(lines).toEqual(['before\n', 'after\n']);
    await log.close();
  });

  it('outlives the process', async () => {
    const clock = new FakeClock();
    const first = await LogFile.open(join(folder, 'hue.log'), clock);
    first.write('{"time":"2026-01-01T00:00:00.000Z","msg":"pushed"}\n');
    await first.close();
    const second = await LogFile.open(join(folder, 'hue.log'), clock);
    expect(await linesOf(second, {})).toEqual(['{"time":"2026-01-01T00:00:00.000Z","msg":"pushed"}']);
    expect(await linesOf(second, { sinceSeconds: 10 })).toHaveLength(1);
    second.write('next\n');
    await second.close();
    expect(await readFile(join(folder, 'hue.log'), 'utf8')).toContain('pushed"}\nnext\n');
    expect(await modeOf(join(folder, 'hue.log'))).toBe('600');
  });
});

describe('the stack of parts', () => {
  it('stops the latest first, whatever one of them does', async () => {
    const stopped: string[] = [];
    const stack = new Stack(silentLogger);
    stack.push('first', () => void stopped.push('first'));
    stack.push('hangs', async () => new Promise<void>(() => undefined));
    stack.push('fails', async () => {
      throw new Error('no');
    });
    stack.push('last', async () => void stopped.push('last'));
    await stack.stop(600);
    expect(stopped).toEqual(['last', 'first']);
  });
});
