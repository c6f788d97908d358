import { startRegistry } from '../server.ts';

/** A registry in a process of its own, for a test that kills it; prints its address once it serves. */
const { host } = await startRegistry({ dataDir: process.argv[2] ?? '', port: 0, anonymous: 'push' });
process.stdout.write(`${host}\n`);
