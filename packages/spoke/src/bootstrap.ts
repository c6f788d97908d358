import { type Clock, MuralError, systemClock } from '@mural/core';
import type { KubeClient, KubeObject, UnstructuredObject } from '@mural/kube';
import type { AppliedObject } from './apply/applier.ts';
import { describeObject, stagesOf } from './apply/order.ts';
import { waitEstablished } from './apply/wait.ts';

/** An object of a bootstrap that the cluster has no definition for. */
export class BootstrapError extends MuralError<'KindUnknown'> {}

/**
 * Appliers of Kustomizations, Flux's and ours, take over what a manager whose name begins with `kubectl`
 * wrote (`ssa.PatchReplaceFieldsManagers`). So what the root of a spoke takes over and does not have any
 * more goes, such as the Secrets of a registry that needs none.
 */
const FIELD_MANAGER = 'kubectl-mural-bootstrap';

const ESTABLISHED_MS = 60_000;

/**
 * Applies what makes a cluster a spoke (`mural spoke bootstrap`): definitions and namespaces first, and the
 * rest when those can be used. Doing so again changes nothing.
 *
 * @throws BootstrapError when a kind is not served; KubeError when the API refuses an object; ApplyError when a
 *   definition is not established within a minute
 */
export async function applyBootstrap(
  client: KubeClient,
  objects: readonly KubeObject[],
  clock: Clock = systemClock,
): Promise<void> {
  const { signal } = new AbortController();
  for (const stage of stagesOf(objects as readonly UnstructuredObject[])) {
    const stored: AppliedObject[] = [];
    for (const object of stage.objects) {
      const resource = await client.resourceFor(object.apiVersion, object.kind);
      if (resource === undefined) {
        throw new BootstrapError(
          'KindUnknown',
          `${describeObject(object)}: the cluster does not serve this kind`,
          {
            hint: 'Install the definitions of OCIRepository and Kustomization first.',
          },
        );
      }
      const live = await client.apply<UnstructuredObject>(resource, object, {
        fieldManager: FIELD_MANAGER,
        force: true,
      });
      stored.push({ id: describeObject(object), action: 'configured', live });
    }
    if (stage.wait) await waitEstablished({ client, clock }, stored, { timeoutMs: ESTABLISHED_MS, signal });
  }
}
