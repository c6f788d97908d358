import { writeSync } from 'node:fs';
import { Database } from '../storage/database.ts';
import { createSeal } from '../storage/seal.ts';
import { Store } from '../storage/store.ts';

// Writes objects until it is killed, and tells the number of each when the store has acknowledged it.
const store = new Store(new Database(process.argv[2] ?? '', createSeal(Buffer.alloc(32, 1))));
const WRITERS = 8;
let next = 0;
let told = -1;
const acknowledged = new Set<number>();

async function write(): Promise<void> {
  for (;;) {
    const n = next;
    next += 1;
    const metadata = { name: `object-${n}`, namespace: 'ns' };
    await store.write((transaction) =>
      transaction.put('configmaps', { apiVersion: 'v1', kind: 'ConfigMap', metadata, n }),
    );
    acknowledged.add(n);
    while (acknowledged.delete(told + 1)) {
      told += 1;
      writeSync(1, `${told}\n`);
    }
  }
}

await Promise.all(Array.from({ length: WRITERS }, write));
