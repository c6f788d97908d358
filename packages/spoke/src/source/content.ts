import { type OCIRepositorySpec, ReconcileError } from '@mural/kube';
import { packArtifact, unpackLayer } from '@mural/oci';
import { conditionMessage } from '../status.ts';
import { ignoreFilter } from './ignore.ts';

const SOURCE_IGNORE = '.sourceignore';

/**
 * What is stored of a layer: its bytes for `operation: copy`; else the archive, proven safe to unpack and
 * without what is ignored. An archive of which nothing is left out is stored as it came.
 *
 * @throws ReconcileError `OCIArtifactLayerOperationFailed` for an archive that is damaged or leads out of itself
 */
export async function contentOf(layer: Uint8Array, spec: OCIRepositorySpec): Promise<Uint8Array> {
  if (spec.layerSelector?.operation === 'copy') return layer;
  try {
    const files = await unpackLayer(layer);
    const patterns = spec.ignore ?? decode(files.get(SOURCE_IGNORE)?.content);
    const ignored = ignoreFilter(patterns);
    const kept = [...files].filter(([path]) => !ignored(path));
    if (kept.length === files.size && isGzip(layer)) return layer;
    const packed = await packArtifact({ files: kept.map(([path, file]) => ({ path, ...file })) });
    const [blob] = packed.layers;
    if (blob === undefined) throw new Error('packing gave no layer');
    return blob.bytes;
  } catch (cause) {
    throw new ReconcileError(
      'generic',
      'OCIArtifactLayerOperationFailed',
      `failed to extract layer contents from artifact: ${conditionMessage(cause)}`,
      { cause, conditionType: 'FetchFailed' },
    );
  }
}

function decode(content: Uint8Array | undefined): string | undefined {
  return content === undefined ? undefined : new TextDecoder().decode(content);
}

/** RFC 1952: the two bytes that every member begins with. */
function isGzip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}
