import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { sendTo } from '../fixture.ts';
import { digestOf } from '../names.ts';
import { type RunningRegistry, startRegistry } from '../server.ts';
import { buffers } from '../store/appender.ts';
import { STAGING_BYTES } from '../store/staging.ts';

const BLOCK = 4096;
const content = randomBytes(6 * (2 * STAGING_BYTES + BLOCK));

/** Sizes around which a chunk is written in another way. */
const around = fc
  .tuple(
    fc.constantFrom(
      0,
      BLOCK,
      2 * BLOCK,
      64 * 1024,
      256 * 1024,
      STAGING_BYTES - BLOCK,
      STAGING_BYTES,
      2 * STAGING_BYTES,
    ),
    fc.oneof(fc.constantFrom(-1, 0, 0, 1), fc.integer({ min: -BLOCK, max: BLOCK })),
  )
  .map(([size, more]) => Math.max(size + more, 0));
const step = fc.record({
  size: around,
  restart: fc.integer({ min: 0, max: 3 }).map((chance) => chance === 0),
});

/** A folder in memory, as Linux has one, does not let itself be written past the cache by every kernel. */
const FOLDERS = [tmpdir(), '/dev/shm'].filter((folder) => existsSync(folder));

describe.each(FOLDERS)('uploads to a folder in %s', (parent) => {
  let directory: string;
  let registry: RunningRegistry;
  const start = async (): Promise<void> => {
    registry = await startRegistry({ port: 0, dataDir: directory, anonymous: 'push' });
  };
  beforeAll(async () => {
    directory = await mkdtemp(join(parent, 'mural-chunks-'));
    await start();
  });
  afterAll(async () => {
    await registry.close();
    await rm(directory, { recursive: true, force: true });
  });
  afterEach(() => expect(buffers.taken).toBe(0));

  it('in chunks of any sizes, over restarts, are what was sent', async () => {
    const property = fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 5 }),
      around,
      async (steps, last) => {
        const begun = await sendTo(registry.host, 'POST', '/v2/a/blobs/uploads/');
        const location = String(begun.headers.location);
        let size = 0;
        for (const { size: chunk, restart } of steps) {
          const headers = chunk === 0 ? {} : { 'content-range': `${size}-${size + chunk - 1}` };
          const body = content.subarray(size, size + chunk);
          const sent = await sendTo(registry.host, 'PATCH', location, { headers, body });
          size += chunk;
          expect([sent.status, sent.headers.range]).toEqual([202, `0-${Math.max(size - 1, 0)}`]);
          if (restart) {
            await registry.close();
            await start();
          }
        }
        const whole = content.subarray(0, size + last);
        const digest = digestOf(whole);
        const put = await sendTo(registry.host, 'PUT', `${location}?digest=${digest}`, {
          body: whole.subarray(size),
        });
        expect([put.status, put.headers['docker-content-digest']]).toEqual([201, digest]);
        const got = await sendTo(registry.host, 'GET', `/v2/a/blobs/${digest}`);
        expect([got.status, got.headers['content-length']]).toEqual([200, String(whole.length)]);
        expect(got.body.equals(whole)).toBe(true);
        const deleted = await sendTo(registry.host, 'DELETE', `/v2/a/blobs/${digest}`);
        expect(deleted.status).toBe(202);
      },
    );
    await fc.assert(property, { numRuns: 15 });
  });
});
