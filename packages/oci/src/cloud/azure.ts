import { errorMessage, isRecord, type ProcessEnvironment } from '@mural/core';
import { OciError } from '../errors.ts';
import { readBounded, Transport } from '../transport.ts';
import type { CloudContext } from './options.ts';
import type { FetchedToken } from './token-cache.ts';

/** What Azure Container Registry wants as the user beside a refresh token. */
const USER = '00000000-0000-0000-0000-000000000000';
const MAX_BODY = 64 * 1024;
/** What a refresh token that does not say is taken to live; they live three hours. */
const UNTOLD_LIFE_MS = 60 * 60_000;

/** Azure's clouds by the domain of their registries: authority and resource manager. */
const CLOUDS: Readonly<Record<string, { readonly authority: string; readonly resource: string }>> = {
  io: { authority: 'https://login.microsoftonline.com', resource: 'https://management.azure.com' },
  cn: { authority: 'https://login.chinacloudapi.cn', resource: 'https://management.chinacloudapi.cn' },
  us: { authority: 'https://login.microsoftonline.us', resource: 'https://management.usgovcloudapi.net' },
  de: { authority: 'https://login.microsoftonline.de', resource: 'https://management.microsoftazure.de' },
};

/**
 * A refresh token of the registry, for which an Entra token of the environment's identity is exchanged.
 *
 * @throws OciError `IdentityUnavailable` when Entra gives none, `AccessDenied` when the registry refuses it
 */
export async function fetchAcrToken(context: CloudContext, signal: AbortSignal): Promise<FetchedToken> {
  const { resource } = cloudOf(context.registry);
  const access = await entraToken(context, `${resource}/.default`, signal);
  const transport = new Transport({
    origin: `https://${context.registry}`,
    userAgent: 'mural',
    environment: context.environment,
  });
  try {
    const form = new URLSearchParams({
      grant_type: 'access_token',
      service: context.registry,
      access_token: access,
    });
    const response = await transport.send({
      method: 'POST',
      url: new URL(`https://${context.registry}/oauth2/exchange`),
      headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
      body: () => Buffer.from(form.toString()),
      signal,
    });
    const body = await readBounded(response, MAX_BODY, 'the answer of the token exchange');
    if (response.status !== 200) throw refused(context.registry, response.status);
    return readToken(body, context);
  } finally {
    await transport.close();
  }
}

function refused(registry: string, status: number): OciError {
  const busy = status === 429 || status >= 500;
  return new OciError(
    busy ? 'ServerError' : 'AccessDenied',
    `${registry} answered ${status} to the exchange of the Entra token`,
    {
      retryable: busy,
      hint: 'Give the identity the role AcrPull or AcrPush on this registry.',
      facts: { registry, status },
    },
  );
}

function readToken(body: Buffer, { registry, clock }: CloudContext): FetchedToken {
  let document: unknown;
  try {
    document = JSON.parse(body.toString('utf8'));
  } catch {
    document = undefined;
  }
  const token = isRecord(document) ? document['refresh_token'] : undefined;
  if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) {
    throw new OciError('AuthenticationFailed', `${registry} gave no token in exchange`, { retryable: true });
  }
  const expiresAt = expiryOf(token) ?? clock.now() + UNTOLD_LIFE_MS;
  return { credential: { username: USER, password: token }, expiresAt };
}

/** The `exp` of a JWT, in milliseconds. It only says when to ask again, so nothing is verified. */
function expiryOf(token: string): number | undefined {
  try {
    const payload: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'));
    const exp = isRecord(payload) ? payload['exp'] : undefined;
    return typeof exp === 'number' && Number.isFinite(exp) ? exp * 1000 : undefined;
  } catch {
    return undefined;
  }
}

async function entraToken(context: CloudContext, scope: string, signal: AbortSignal): Promise<string> {
  const { DefaultAzureCredential, WorkloadIdentityCredential } = await import('@azure/identity');
  const { environment } = context;
  const authorityHost = value(environment, 'AZURE_AUTHORITY_HOST') ?? cloudOf(context.registry).authority;
  // Only Microsoft's own authorities can be looked up at Microsoft; a private cloud's cannot.
  const known = Object.values(CLOUDS).some(
    ({ authority }) => authorityHost.replace(/\/+$/, '') === authority,
  );
  const shared = { authorityHost, disableInstanceDiscovery: !known };
  const tenantId = value(environment, 'AZURE_TENANT_ID');
  const clientId = value(environment, 'AZURE_CLIENT_ID');
  const tokenFilePath = value(environment, 'AZURE_FEDERATED_TOKEN_FILE');
  try {
    const federated = tenantId !== undefined && clientId !== undefined && tokenFilePath !== undefined;
    const credential = federated
      ? new WorkloadIdentityCredential({ ...shared, tenantId, clientId, tokenFilePath })
      : new DefaultAzureCredential({
          ...shared,
          ...(tenantId === undefined ? {} : { tenantId }),
          ...(clientId === undefined ? {} : { managedIdentityClientId: clientId }),
        });
    const { token } = await credential.getToken(scope, { abortSignal: signal });
    return token;
  } catch (cause) {
    if (signal.aborted) throw signal.reason;
    throw new OciError(
      'IdentityUnavailable',
      `Microsoft Entra gave no token for ${context.registry}: ${errorMessage(cause).slice(0, 500)}`,
      {
        cause,
        retryable: true,
        hint: 'Use AKS workload identity (AZURE_CLIENT_ID, AZURE_TENANT_ID, AZURE_FEDERATED_TOKEN_FILE) or a managed identity.',
      },
    );
  }
}

function cloudOf(registry: string): { readonly authority: string; readonly resource: string } {
  const cloud = CLOUDS[registry.slice(registry.lastIndexOf('.') + 1)];
  if (cloud === undefined) {
    throw new OciError('ProviderMismatch', `${registry} is not an Azure Container Registry`);
  }
  return cloud;
}

function value(environment: ProcessEnvironment, name: string): string | undefined {
  const found = environment[name];
  return found === '' ? undefined : found;
}
