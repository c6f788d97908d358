import { type PeerName, startPeer } from '../../bench/registry/peers.ts';
import { temporaryFolder } from '../support/mural.ts';
import { CASES } from './cases.ts';
import { Registry } from './registry.ts';

/** Runs all cases against another registry: what each says that it does not meet, by the id of the case. */
export async function failuresOf(name: PeerName): Promise<ReadonlyMap<string, string>> {
  const peer = await startPeer(name, await temporaryFolder(), { tls: undefined, auth: false });
  const registry = new Registry({ url: `http://${peer.target.host}:${peer.target.port}` });
  const failures = new Map<string, string>();
  try {
    for (const { id, run } of CASES) {
      try {
        await run(registry);
      } catch (error) {
        failures.set(id, error instanceof Error ? error.message : String(error));
      }
    }
  } finally {
    registry.close();
    await peer.stop();
  }
  return failures;
}
