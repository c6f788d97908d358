import type { CloudProvider, Credential, PreflightRole } from '@mural/oci';
import type { Values } from '@mural/values';
import { chooseRegistry, cloudOf, credentialOf, roleOf } from '../home/registry-choice.ts';

/** One repository as one identity uses it. */
export interface PreflightTarget {
  readonly url: string;
  readonly role: PreflightRole;
  readonly provider: 'generic' | CloudProvider;
  readonly insecure: boolean;
  readonly credential: Credential | undefined;
  /** IAM role that the values bind the service account to. */
  readonly boundRole: string | undefined;
}

/**
 * The repositories that the values name, each once for each identity: the hub's where the role pushes, and
 * those of all spokes where it pulls. The embedded registry is none of them.
 */
export function targetsOf(values: Values, role: PreflightRole): readonly PreflightTarget[] {
  const hub = hubTarget(values, role);
  const pushed = role === 'pull' || hub === undefined ? [] : [hub];
  const pulled = role === 'push' ? [] : spokeTargets(values, hub);
  const unique = new Map<string, PreflightTarget>();
  for (const target of [...pushed, ...pulled]) {
    const { url, provider, credential } = target;
    const key = JSON.stringify([url, provider, credential]);
    if (!unique.has(key)) unique.set(key, target);
  }
  return [...unique.values()];
}

function hubTarget(values: Values, role: PreflightRole): PreflightTarget | undefined {
  const { external, repository } = chooseRegistry(values);
  if (external === undefined) return undefined;
  return {
    url: `${external.endpoint}/${repository}`,
    role,
    provider: external.cloud ?? 'generic',
    insecure: external.insecure,
    credential: external.credential,
    boundRole: external.roleArn,
  };
}

function spokeTargets(values: Values, hub: PreflightTarget | undefined): readonly PreflightTarget[] {
  const boundRole = roleOf(values.flux2.sourceController.serviceAccount);
  const fleet = hub === undefined ? [] : [{ ...hub, role: 'pull' as const, boundRole }];
  const own = values.fleetConfig.spokes.flatMap(({ ociRegistry }): readonly PreflightTarget[] => {
    if (ociRegistry?.endpoint === undefined) return fleet;
    const cloud = cloudOf(ociRegistry.provider);
    const repository = ociRegistry.repository ?? values.hue.ociRegistry.repository;
    return [
      {
        url: `${ociRegistry.endpoint.replace(/\/$/, '')}/${repository}`,
        role: 'pull',
        provider: cloud ?? 'generic',
        insecure: ociRegistry.insecure,
        credential: cloud === undefined ? credentialOf(ociRegistry.basicAuth) : undefined,
        boundRole,
      },
    ];
  });
  return values.fleetConfig.spokes.length === 0 ? fleet : own;
}
