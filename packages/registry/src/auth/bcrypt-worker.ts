import { parentPort } from 'node:worker_threads';
import { compareSync } from 'bcryptjs';

parentPort?.on('message', (request: { password: string; hash: string }) => {
  let matches = false;
  try {
    matches = compareSync(request.password, request.hash);
  } catch {
    // A hash that cannot be read matches nothing.
  }
  parentPort?.postMessage(matches);
});
