import { type Clock, SingleFlight } from '@mural/core';
import {
  type KubeClient,
  type KubeObject,
  type OCIRepositorySpec,
  ReconcileError,
  SECRETS,
  SERVICE_ACCOUNTS,
} from '@mural/kube';
import { type Credential, credentialsFromDockerConfig } from '@mural/oci';
import type { RegistryAccess } from './clients.ts';

interface Secret extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}
interface ServiceAccount extends KubeObject {
  readonly imagePullSecrets?: readonly { readonly name?: string }[];
}

/** How long a Secret that was read may be used again: long enough for a burst, short enough for a rotation. */
const REUSE_MS = 1000;

/** Finds out how a source wants its registry to be reached. */
export class AccessResolver {
  readonly #client: KubeClient;
  readonly #clock: Clock;
  readonly #flights = new SingleFlight<Secret | undefined>();
  readonly #recent = new Map<string, { readonly at: number; readonly secret: Secret | undefined }>();

  constructor(client: KubeClient, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
  }

  /**
   * Credentials of `secretRef` or else of the service account's pull secrets, and the CA of `certSecretRef`.
   *
   * @throws ReconcileError `AuthenticationFailed`; stalling for what is not supported
   */
  async resolve(
    spec: OCIRepositorySpec,
    namespace: string,
    registry: string,
    signal: AbortSignal,
  ): Promise<RegistryAccess> {
    refuseUnsupported(spec);
    const credential = await this.#credential(spec, namespace, registry, signal);
    if (credential === undefined && spec.provider !== 'generic') {
      throw new ReconcileError(
        'stalling',
        'AuthenticationFailed',
        `provider '${spec.provider}' needs credentials of the cloud, which this controller cannot get`,
        { conditionType: 'FetchFailed', hint: 'Give a secretRef, or let Flux reconcile this source.' },
      );
    }
    return {
      registry,
      credential,
      ca: await this.#ca(spec, namespace, signal),
      insecure: spec.insecure ?? false,
    };
  }

  async #credential(
    spec: OCIRepositorySpec,
    namespace: string,
    registry: string,
    signal: AbortSignal,
  ): Promise<Credential | undefined> {
    const names =
      spec.secretRef === undefined ? await this.#pullSecrets(spec, namespace, signal) : [spec.secretRef.name];
    for (const name of names) {
      const secret = await this.#secret(namespace, name, signal);
      const text = decode(secret, '.dockerconfigjson');
      if (text === undefined) throw failed(`secret '${namespace}/${name}' has no key '.dockerconfigjson'`);
      const credential = credentialsFromDockerConfig(text, registry);
      if (credential !== undefined) return credential;
    }
    return undefined;
  }

  async #pullSecrets(spec: OCIRepositorySpec, namespace: string, signal: AbortSignal): Promise<string[]> {
    const name = spec.serviceAccountName;
    if (name === undefined) return [];
    const account = await this.#client.find<ServiceAccount>(
      SERVICE_ACCOUNTS,
      { name, namespace },
      { signal },
    );
    if (account === undefined) throw failed(`serviceaccounts "${name}" not found`);
    return (account.imagePullSecrets ?? []).flatMap((secret) =>
      secret.name === undefined ? [] : [secret.name],
    );
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

function refuseUnsupported(spec: OCIRepositorySpec): void {
  if (spec.proxySecretRef === undefined) return;
  throw new ReconcileError('stalling', 'AuthenticationFailed', 'spec.proxySecretRef is not supported', {
    conditionType: 'FetchFailed',
  });
}

function failed(message: string): ReconcileError {
  return new ReconcileError('generic', 'AuthenticationFailed', message, { conditionType: 'FetchFailed' });
}

function decode(secret: Secret, key: string): string | undefined {
  const value = secret.data?.[key];
  return value === undefined ? undefined : Buffer.from(value, 'base64').toString('utf8');
}
