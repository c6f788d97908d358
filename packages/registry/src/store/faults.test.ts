import { randomBytes } from 'node:crypto';
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Answer, errorCode, RegistryFixture } from '../fixture.ts';
import { type Digest, digestOf } from '../names.ts';
import { type Disk, machineDisk } from './disk.ts';

/** A disk that fails where a test says so, with the error of a system call. */
class FaultyDisk {
  fault:
    | {
        readonly call: 'sync' | 'open' | 'rename' | 'statfs' | 'syncDirectory' | 'access';
        readonly code: string;
      }
    | undefined;
  /** What {@link Disk.statfs} says in place of the truth. */
  room: { readonly bavail?: number; readonly files?: number; readonly ffree?: number } = {};

  readonly disk: Disk = {
    ...machineDisk,
    access: async (...args) => {
      this.#check('access');
      await machineDisk.access(...args);
    },
    rename: async (...args) => {
      this.#check('rename');
      await machineDisk.rename(...args);
    },
    syncDirectory: async (path) => {
      this.#check('syncDirectory');
      await machineDisk.syncDirectory(path);
    },
    statfs: (async (path: string) => {
      this.#check('statfs');
      return Object.assign(await machineDisk.statfs(path), this.room);
    }) as unknown as Disk['statfs'],
    open: async (...args) => {
      if (args[1] !== 'r') this.#check('open');
      const file = await open(...args);
      const failing = async (real: () => Promise<void>): Promise<void> => {
        this.#check('sync');
        await real();
      };
      const sync = file.sync.bind(file);
      const datasync = file.datasync.bind(file);
      file.sync = () => failing(sync);
      file.datasync = () => failing(datasync);
      return file;
    },
  };

  #check(call: string): void {
    if (this.fault?.call !== call) return;
    throw Object.assign(new Error(`${this.fault.code}: planted, /secret/path`), { code: this.fault.code });
  }
}

const faulty = new FaultyDisk();
let fixture: RegistryFixture;
let kept: Digest;
let image: Digest;
beforeEach(async () => {
  faulty.fault = undefined;
  faulty.room = {};
  fixture = await RegistryFixture.start({ disk: faulty.disk });
  kept = await fixture.pushBlob('kept', randomBytes(300_000));
  image = (await fixture.pushImage('kept', 'v1')).digest;
});
afterEach(() => fixture.stop());

const push = (content: Buffer): Promise<Answer> =>
  fixture.send('POST', `/v2/a/blobs/uploads/?digest=${digestOf(content)}`, { body: content });

async function expectReads(): Promise<void> {
  expect((await fixture.send('GET', `/v2/kept/blobs/${kept}`)).status).toBe(200);
  expect((await fixture.send('GET', `/v2/kept/manifests/${image}`)).status).toBe(200);
  expect((await fixture.send('HEAD', '/v2/kept/manifests/v1')).status).toBe(200);
}

describe.each([
  ['no space', { call: 'open', code: 'ENOSPC' }, 507, 'full'],
  ['no inodes', { call: 'open', code: 'ENOSPC' }, 507, 'full'],
  ['a used-up quota of the disk', { call: 'open', code: 'EDQUOT' }, 507, 'full'],
  ['a read-only disk', { call: 'open', code: 'EROFS' }, 503, 'failing'],
  ['a failing fsync', { call: 'sync', code: 'EIO' }, 503, 'failing'],
  ['a failing rename', { call: 'rename', code: 'EIO' }, 503, 'failing'],
  ['a failing fsync of the folder', { call: 'syncDirectory', code: 'EIO' }, 503, 'failing'],
] as const)('%s', (_name, fault, status, reason) => {
  it.each([500, 700_000])(
    'is not acknowledged for %i bytes, shows no internals, and reads go on',
    async (size) => {
      const content = randomBytes(size);
      faulty.fault = fault;
      const refused = await push(content);
      expect([refused.status, errorCode(refused)]).toEqual([status, 'UNAVAILABLE']);
      expect(String(refused.body)).not.toContain('secret');
      await expectReads();
      expect(await readdir(join(fixture.directory, 'uploads'))).toEqual([]);
      expect(await readdir(join(fixture.directory, 'temporary'))).toEqual([]);
      if (fault.call !== 'rename' && fault.call !== 'syncDirectory') {
        expect(await fixture.registry.maintenance.state()).toMatchObject({ writable: false, reason });
      }
      expect((await fixture.send('HEAD', `/v2/a/blobs/${digestOf(content)}`)).status).toBe(404);
      faulty.fault = undefined;
      expect((await push(content)).status).toBe(201);
      expect(await fixture.registry.maintenance.state()).toEqual({ writable: true });
    },
  );
});

it.each([
  ['blocks', { bavail: 0 }],
  ['inodes', { files: 1000, ffree: 0 }],
])(
  'a disk without %s is full before anything is written, and readiness says so without a push',
  async (_name, room) => {
    faulty.room = room;
    expect(await fixture.registry.maintenance.state()).toEqual({ writable: false, reason: 'full' });
    expect((await push(randomBytes(10))).status).toBe(507);
    await expectReads();
  },
);

it('what the log of the metadata could not be synced for is not acknowledged, and nothing is until a restart', async () => {
  const manifest = await fixture.pushBlob('kept', '{}');
  faulty.fault = { call: 'sync', code: 'EIO' };
  const put = await fixture.pushManifest(
    'kept',
    'v2',
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: { mediaType: 'application/vnd.example.config', digest: manifest, size: 2 },
      layers: [],
    }),
  );
  expect([put.status, errorCode(put)]).toEqual([503, 'UNAVAILABLE']);
  faulty.fault = undefined;
  expect((await push(randomBytes(10))).status).toBe(503);
  expect(await fixture.registry.maintenance.state()).toEqual({
    ...{ writable: false, reason: 'failing', needsRestart: true },
  });
  await expectReads();
  await fixture.restart();
  expect((await push(randomBytes(10))).status).toBe(201);
  expect(await fixture.registry.maintenance.state()).toEqual({ writable: true });
});
