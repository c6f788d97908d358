import { createServer } from 'node:net';
import { join } from 'node:path';
import { ROOT, temporaryFolder } from './mural.ts';
import { run } from './run.ts';

/** A real Kubernetes API (etcd, kube-apiserver, kube-controller-manager) on loopback; it has no nodes. */
export interface Cluster {
  readonly folder: string;
  readonly kubeconfig: string;
  /** Installs Flux's CRDs and starts its source- and kustomize-controller against the cluster. */
  flux(): Promise<void>;
  down(): Promise<void>;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** Starts a real cluster in a temporary folder. */
export async function startCluster(): Promise<Cluster> {
  const folder = await temporaryFolder();
  const tools = join(ROOT, 'test/tools');
  const [api, etcd, peer, kcm, registry] = await Promise.all(Array.from({ length: 5 }, freePort));
  const env = {
    PORT: String(api),
    ETCD_PORT: String(etcd),
    ETCD_PEER_PORT: String(peer),
    KCM_PORT: String(kcm),
    REGISTRY_PORT: String(registry),
    FLUX_PORT_BASE: String(20_000 + Math.floor(Math.random() * 10_000)),
  };
  await run(join(tools, 'kube-up'), [folder], { env });
  return {
    folder,
    kubeconfig: join(folder, 'kubeconfig'),
    flux: async () => {
      await run(join(tools, 'flux-up'), [folder], { env });
    },
    down: async () => {
      await run(join(tools, 'kube-down'), [folder], { env });
    },
  };
}
