import { type Clock, SingleFlight } from '@mural/core';
import {
  type KubeClient,
  type KubeObject,
  type OCIRepositorySpec,
  ReconcileError,
  SECRETS,
  SERVICE_ACCOUNTS,
} from '@mural/kube';
import { type Credential, credentialsFromDockerConfig, type CredentialProvider, OciError } from '@mural/oci';
import { conditionMessage } from '../status.ts';
import type { CloudAccess, RegistryAccess } from './clients.ts';
import { type CloudIdentities, identityKey } from './identities.ts';

interface Secret extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}
interface ServiceAccount extends KubeObject {
  readonly imagePullSecrets?: readonly { readonly name?: string }[];
}

/** How long a Secret that was read may be used again: long enough for a burst, short enough for a rotation. */
const REUSE_MS = 1000;
/** How EKS says which role a service account has. */
const ROLE_ANNOTATION = 'eks.amazonaws.com/role-arn';

/** Finds out how a source wants its registry to be reached. */
export class AccessResolver {
  readonly #client: KubeClient;
  readonly #clock: Clock;
  readonly #identities: CloudIdentities;
  readonly #flights = new SingleFlight<Secret | undefined>();
  readonly #recent = new Map<string, { readonly at: number; readonly secret: Secret | undefined }>();

  constructor(client: KubeClient, clock: Clock, identities: CloudIdentities) {
    this.#client = client;
    this.#clock = clock;
    this.#identities = identities;
  }

  /**
   * Credentials of `secretRef` or else of the service account's pull secrets, or else those of the cloud
   * that `provider` names; and the CA of `certSecretRef`.
   *
   * @throws ReconcileError `AuthenticationFailed`; stalling for what only another spec can put right
   */
  async resolve(
    spec: OCIRepositorySpec,
    namespace: string,
    registry: string,
    signal: AbortSignal,
  ): Promise<RegistryAccess> {
    refuseUnsupported(spec);
    const account = await this.#account(spec, namespace, signal);
    const credential = await this.#credential(spec, account, namespace, registry, signal);
    const cloud = credential === undefined ? await this.#cloud(spec, account, registry, signal) : undefined;
    return {
      registry,
      credential,
      cloud,
      ca: await this.#ca(spec, namespace, signal),
      insecure: spec.insecure ?? false,
    };
  }

  /** A token of the cloud is fetched here already, so that a failure is told as one of authentication. */
  async #cloud(
    spec: OCIRepositorySpec,
    account: ServiceAccount | undefined,
    registry: string,
    signal: AbortSignal,
  ): Promise<CloudAccess | undefined> {
    const { provider } = spec;
    if (provider === 'generic') return undefined;
    if (spec.insecure === true) {
      throw stalled(`spec.insecure cannot be used with provider '${provider}': its tokens go over TLS alone`);
    }
    const roleArn = provider === 'aws' ? account?.metadata.annotations?.[ROLE_ANNOTATION] : undefined;
    const identity = { provider, registry: registry.toLowerCase(), roleArn };
    try {
      const credentials = this.#identities.get(identity);
      await untilAborted(credentials, signal);
      return { key: identityKey(identity), credentials };
    } catch (cause) {
      signal.throwIfAborted();
      const mismatch = cause instanceof OciError && cause.code === 'ProviderMismatch';
      const message = `failed to get credential: ${conditionMessage(cause)}`;
      throw new ReconcileError(mismatch ? 'stalling' : 'generic', 'AuthenticationFailed', message, {
        cause,
        conditionType: 'FetchFailed',
      });
    }
  }

  async #credential(
    spec: OCIRepositorySpec,
    account: ServiceAccount | undefined,
    namespace: string,
    registry: string,
    signal: AbortSignal,
  ): Promise<Credential | undefined> {
    const names = spec.secretRef === undefined ? pullSecrets(account) : [spec.secretRef.name];
    for (const name of names) {
      const secret = await this.#secret(namespace, name, signal);
      const text = decode(secret, '.dockerconfigjson');
      if (text === undefined) throw failed(`secret '${namespace}/${name}' has no key '.dockerconfigjson'`);
      const credential = credentialsFromDockerConfig(text, registry);
      if (credential !== undefined) return credential;
    }
    return undefined;
  }

  async #account(
    spec: OCIRepositorySpec,
    namespace: string,
    signal: AbortSignal,
  ): Promise<ServiceAccount | undefined> {
    const name = spec.serviceAccountName;
    if (name === undefined || spec.secretRef !== undefined) return undefined;
    const account = await this.#client.find<ServiceAccount>(
      SERVICE_ACCOUNTS,
      { name, namespace },
      { signal },
    );
    if (account === undefined) throw failed(`serviceaccounts "${name}" not found`);
    return account;
  }

  async #ca(spec: OCIRepositorySpec, namespace: string, signal: AbortSignal): Promise<string | undefined> {
    const name = spec.certSecretRef?.name;
    if (name === undefined) return undefined;
    const secret = await this.#secret(namespace, name, signal);
    if (decode(secret, 'tls.key') !== undefined && decode(secret, 'tls.crt') !== undefined) {
      throw failed(`secret '${namespace}/${name}': client certificates (tls.crt, tls.key) are not supported`);
    }
    const ca = decode(secret, 'ca.crt');
    if (ca === undefined) throw failed(`secret '${namespace}/${name}' has no key 'ca.crt'`);
    return ca;
  }

  /** Many sources share their secrets: those that ask together share one call. */
  async #secret(namespace: string, name: string, signal: AbortSignal): Promise<Secret> {
    const key = `${namespace}/${name}`;
    const now = this.#clock.now();
    for (const [other, { at }] of this.#recent) if (now - at >= REUSE_MS) this.#recent.delete(other);
    let secret = this.#recent.get(key)?.secret;
    if (secret === undefined) {
      // Without the caller's signal: others may be waiting for the same answer.
      secret = await this.#flights.run(key, async () =>
        this.#client.find<Secret>(SECRETS, { namespace, name }),
      );
      this.#recent.set(key, { at: now, secret });
    }
    signal.throwIfAborted();
    if (secret === undefined) throw failed(`secrets "${name}" not found`);
    return secret;
  }
}

function pullSecrets(account: ServiceAccount | undefined): string[] {
  const secrets = account?.imagePullSecrets ?? [];
  return secrets.flatMap((secret) => (secret.name === undefined ? [] : [secret.name]));
}

/** Waits for a token no longer than the run lasts; the fetch itself goes on for the others. */
async function untilAborted(credentials: CredentialProvider, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason as Error);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([credentials(), aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function refuseUnsupported(spec: OCIRepositorySpec): void {
  if (spec.proxySecretRef !== undefined) throw stalled('spec.proxySecretRef is not supported');
}

function stalled(message: string): ReconcileError {
  return new ReconcileError('stalling', 'AuthenticationFailed', message, { conditionType: 'FetchFailed' });
}

function failed(message: string): ReconcileError {
  return new ReconcileError('generic', 'AuthenticationFailed', message, { conditionType: 'FetchFailed' });
}

function decode(secret: Secret, key: string): string | undefined {
  const value = secret.data?.[key];
  return value === undefined ? undefined : Buffer.from(value, 'base64').toString('utf8');
}
