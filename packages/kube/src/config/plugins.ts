import { isRecord } from '@mural/core';
import { stringify } from 'yaml';
import { type ChosenContext, invalid } from './schema.ts';
import { keptToken } from './token-file.ts';

/** What a plugin gives to authenticate with. */
export interface PluginCredentials {
  readonly token: () => Promise<string | undefined>;
  readonly clientCert?: string;
  readonly clientKey?: string;
}

/**
 * Credentials of users with `exec` or `auth-provider`, by the `KubeConfig` of
 * `@kubernetes/client-node`. That costs 0.4 s and 90 MB to import, so it is loaded only here.
 *
 * @throws KubeError `KubeConfigInvalid` when the plugin fails
 */
export async function pluginCredentials(chosen: ChosenContext): Promise<PluginCredentials> {
  const { KubeConfig } = await import('@kubernetes/client-node');
  const config = new KubeConfig();
  config.loadFromString(
    stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'cluster', cluster: { server: chosen.cluster.server } }],
      users: [{ name: 'user', user: chosen.user }],
      contexts: [{ name: 'context', context: { cluster: 'cluster', user: 'user' } }],
      'current-context': 'context',
    }),
  );
  const ask = async (): Promise<Record<string, unknown>> => {
    const options: Parameters<typeof config.applyToHTTPSOptions>[0] = {};
    try {
      await config.applyToHTTPSOptions(options);
    } catch (cause) {
      // The plugin's own words may hold secrets: they go no further than the cause.
      throw invalid('the credential plugin of the kubeconfig failed', cause);
    }
    return options as Record<string, unknown>;
  };
  const { cert, key } = await ask();
  return {
    token: keptToken(async () => bearerOf(await ask())),
    ...(typeof cert === 'string' ? { clientCert: cert } : {}),
    ...(typeof key === 'string' ? { clientKey: key } : {}),
  };
}

function bearerOf(options: Readonly<Record<string, unknown>>): string | undefined {
  const headers = isRecord(options['headers']) ? options['headers'] : {};
  const authorization = headers['Authorization'];
  if (typeof authorization !== 'string' || !authorization.startsWith('Bearer ')) return undefined;
  return authorization.slice('Bearer '.length);
}
