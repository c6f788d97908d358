import { type Credential, dockerConfig } from '@mural/oci';

/** A docker `config.json` with several registries; the first of those with the same host counts. */
export function dockerConfigOf(
  logins: readonly { readonly host: string; readonly credential: Credential }[],
): string {
  const entries = logins.map(({ host, credential }) => {
    const { auths } = JSON.parse(dockerConfig(host, credential)) as { auths: Record<string, unknown> };
    return [host, auths[host]] as const;
  });
  return JSON.stringify({ auths: Object.fromEntries(entries.reverse()) });
}
