import { startRegistry } from '../server.ts';

/** A registry that collects all the while, in a process of its own, for a test that kills it. */
const { host } = await startRegistry({
  dataDir: process.argv[2] ?? '',
  port: 0,
  anonymous: 'push',
  useMs: 300,
  maintenance: { graceMs: 0, collectEveryMs: 20, retention: [{ repositories: '**', untagged: 'remove' }] },
});
process.stdout.write(`${host}\n`);
