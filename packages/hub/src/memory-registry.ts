import { digestOf, type RegistryClient } from '@mural/oci';

/** The calls of a registry that a push makes, in memory and without HTTP: for tests with thousands of spokes. */
export class MemoryRegistry {
  /** References of the manifests that were put, in order. */
  readonly puts: string[] = [];
  readonly tags = new Map<string, string>();
  /** Calls that asked and did not write. */
  heads = 0;
  readonly #manifests = new Set<string>();
  readonly #blobs = new Set<string>();

  /** As what the hub takes for a client. */
  get client(): RegistryClient {
    return this as unknown as RegistryClient;
  }

  async headManifest(_repository: string, reference: string): Promise<{ digest: string } | undefined> {
    this.heads += 1;
    const digest = this.tags.get(reference) ?? reference;
    return await Promise.resolve(this.#manifests.has(digest) ? { digest } : undefined);
  }

  async putBlob(_repository: string, { digest }: { readonly digest: string }): Promise<boolean> {
    this.heads += 1;
    const sent = !this.#blobs.has(digest);
    this.#blobs.add(digest);
    return await Promise.resolve(sent);
  }

  async putManifest(_repository: string, reference: string, bytes: Uint8Array): Promise<string> {
    const digest = digestOf(bytes);
    this.#manifests.add(digest);
    this.puts.push(reference);
    if (!reference.startsWith('sha256:')) this.tags.set(reference, digest);
    return await Promise.resolve(digest);
  }
}
