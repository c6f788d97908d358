import { parseArgs } from 'node:util';
import { fuzz } from './run.ts';

/** `node test/fuzz/registry.ts [--seconds 10] [--seed N]`: compares the registry with a model of it. */
const { values } = parseArgs({ options: { seconds: { type: 'string' }, seed: { type: 'string' } } });
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
const seconds = Number(values.seconds ?? 10);
console.log(`seed ${seed}, ${seconds} s`);
const { sessions, steps, restarts } = await fuzz(seed, seconds * 1000);
console.log(`${sessions} sessions, ${steps} steps, ${restarts} restarts, no difference`);
