import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Ran, run } from '../testing/run.ts';

describe('mural up --registry-config', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mural-up-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  async function up(text: string): Promise<Ran> {
    await writeFile(join(folder, 'registry.yaml'), text);
    const ran = await run(['up', '--data', 'data', '--registry-config', 'registry.yaml'], { cwd: folder });
    await expect(stat(join(folder, 'data'))).rejects.toMatchObject({ code: 'ENOENT' });
    return ran;
  }

  it.each([
    ['users: [{ name: a }]', /^registry\.yaml:1:1: error: users: is decided by mural up: .*registry robot/],
    ['htpasswd: { file: x }', /:1:1: error: htpasswd: is decided by mural up: .*registry robot/],
    ['metrics: {}\nanonymous: pull', /:2:1: error: anonymous: is decided by mural up: .*leave it out/],
    ['tls: { certFile: a, keyFile: b }', /:1:1: error: tls: is decided by mural up: .*leave it out/],
    ['listen: 0.0.0.0', /:1:1: error: listen: is decided by mural up: give it --listen/],
    ['port: 5000', /:1:1: error: port: is decided by mural up: give it --registry-port/],
    ['data: /tmp', /:1:1: error: data: is decided by mural up: give it --data/],
    ['mirors: []', /:1:1: error: mirors: is not a known key; did you mean mirrors\?/],
    [
      'maintenance:\n  quotas: [{ repositories: a, bytes: lots }]',
      /:2:31: error: maintenance\.quotas\[0\]\.bytes: must be a number of bytes/,
    ],
  ])('starts nothing when the file is wrong: %s', async (text, said) => {
    const { code, out, err } = await up(text);
    expect([code, out]).toEqual([1, '']);
    expect(err).toMatch(said);
    expect(err).toMatch(/\nerror: registry\.yaml is not valid; nothing was started\n$/);
  });

  it('says what it goes by when the file of the last start is gone, and what to do', async () => {
    await mkdir(join(folder, 'before'));
    const file = join(folder, 'gone.yaml');
    await writeFile(join(folder, 'before', 'registry-config.json'), JSON.stringify({ file }));
    const { code, err } = await run(['up', '--data', 'before'], { cwd: folder });
    expect(code).toBe(1);
    expect(err).toMatch(
      /^error: cannot read .*gone\.yaml: there is no such file; nothing was started\nhint: /,
    );
    expect(err).toMatch(/last start.*--registry-config.*--no-registry-config/);
  });
});
