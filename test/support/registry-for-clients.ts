import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Registry } from '../conformance/registry.ts';
import { credentialOf, startExternalRegistry } from './external-registry.ts';
import { temporaryFolder } from './mural.ts';

/** A registry with TLS and passwords, and what a client needs to know to work with it. */
export interface RegistryForClients {
  readonly folder: string;
  /** `127.0.0.1:5000`. */
  readonly host: string;
  /** docker's configuration, and where the CA is, for clients that read their environment. */
  readonly env: NodeJS.ProcessEnv;
  /** Path of docker's `config.json`. */
  readonly dockerConfig: string;
  /** A folder with the CA, as `ca.crt`. */
  readonly certificates: string;
  /** The same registry as the specification has it. */
  readonly registry: Registry;
}

/** Starts it, in a process of its own. `cleanUp` of ./mural.ts stops it. */
export async function startRegistryForClients(): Promise<RegistryForClients> {
  const { host, ca } = await startExternalRegistry();
  const folder = await temporaryFolder();
  const { username, password } = credentialOf('hue');
  const auth = Buffer.from(`${username}:${password}`).toString('base64');
  const certificates = join(folder, 'certificates');
  await mkdir(certificates);
  const pem = await readFile(ca, 'utf8');
  await writeFile(join(certificates, 'ca.crt'), pem);
  const dockerConfig = join(folder, 'config.json');
  await writeFile(dockerConfig, JSON.stringify({ auths: { [host]: { auth } } }), { mode: 0o600 });
  return {
    folder,
    host,
    dockerConfig,
    certificates,
    env: {
      DOCKER_CONFIG: folder,
      SSL_CERT_FILE: join(certificates, 'ca.crt'),
      HOME: folder,
      XDG_RUNTIME_DIR: folder,
      REGCTL_CONFIG: join(folder, 'regctl.json'),
    },
    registry: new Registry({ url: `https://${host}`, authorization: `Basic ${auth}`, ca: pem }),
  };
}
