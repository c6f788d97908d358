import { MuralError } from '@mural/core';
import type { KubeClient, KubeObject, UnstructuredObject } from '@mural/kube';
import { describeObject, stagesOf } from './apply/order.ts';

/** An object of a bootstrap that the cluster has no definition for. */
export class BootstrapError extends MuralError<'KindUnknown'> {}

/** Its own name, so that what a user changes later by other means is told apart from what delivery owns. */
const FIELD_MANAGER = 'mural-bootstrap';

/**
 * Applies what makes a cluster a spoke (`mural spoke bootstrap`): definitions and namespaces first. Doing
 * so again changes nothing.
 *
 * @throws BootstrapError when a kind is not served; KubeError when the API refuses an object
 */
export async function applyBootstrap(client: KubeClient, objects: readonly KubeObject[]): Promise<void> {
  for (const stage of stagesOf(objects as readonly UnstructuredObject[])) {
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
      await client.apply(resource, object, { fieldManager: FIELD_MANAGER, force: true });
    }
  }
}
