import { open } from 'node:fs/promises';
import { join } from 'node:path';

/** Where the embedded registry keeps a blob, in the data folder of a hub or of `mural registry serve`. */
export function blobFile(dataDir: string, digest: string): string {
  const [algorithm = '', hex = ''] = digest.split(':');
  return join(dataDir, 'registry', 'blobs', algorithm, hex.slice(0, 2), hex);
}

/** Flips one bit in the middle of a file, in place. */
export async function flipBit(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const middle = Math.floor((await file.stat()).size / 2);
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, middle);
    byte[0] = (byte[0] ?? 0) ^ 1;
    await file.write(byte, 0, 1, middle);
    await file.sync();
  } finally {
    await file.close();
  }
}
