/** A manifest as the model knows it. */
export interface ModelManifest {
  readonly bytes: Buffer;
  readonly mediaType: string;
  readonly subject: string | undefined;
  readonly artifactType: string | undefined;
}

/** What one repository holds. */
export class ModelRepository {
  readonly blobs = new Map<string, Buffer>();
  readonly manifests = new Map<string, ModelManifest>();
  readonly tags = new Map<string, string>();
  /** Whether anything was ever pushed to it: from then on it has a list of tags. */
  known = false;

  /** The manifest that a tag or a digest names. */
  find(reference: string): { digest: string; manifest: ModelManifest } | undefined {
    const digest = this.tags.get(reference) ?? reference;
    const manifest = this.manifests.get(digest);
    return manifest === undefined ? undefined : { digest, manifest };
  }

  deleteManifest(digest: string): boolean {
    if (!this.manifests.delete(digest)) return false;
    for (const [tag, target] of this.tags) if (target === digest) this.tags.delete(tag);
    return true;
  }

  /** Tags after `last`, in ASCII order. */
  tagPage(last: string | undefined, n: number): string[] {
    return [...this.tags.keys()]
      .sort()
      .filter((tag) => last === undefined || tag > last)
      .slice(0, n);
  }

  /** Digests of what refers to `subject`, in order. */
  referrers(subject: string, artifactType?: string): string[] {
    return [...this.manifests]
      .filter(([, manifest]) => manifest.subject === subject)
      .filter(([, manifest]) => artifactType === undefined || manifest.artifactType === artifactType)
      .map(([digest]) => digest)
      .sort();
  }
}

/** An upload that was begun. */
export interface ModelUpload {
  readonly repository: string;
  readonly location: string;
  bytes: Buffer;
}

/** What bytes a `Range` asks for, as RFC 9110 reads it; `all` where it is to be ignored. */
export function rangeOf(header: string, size: number): readonly [number, number] | 'all' | 'none' {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header);
  const [, first = '', last = ''] = match ?? [];
  if (match === null || (first === '' && last === '')) return 'all';
  if (first === '') {
    const length = Math.min(Number(last), size);
    return length === 0 ? 'none' : [size - length, size];
  }
  const start = Number(first);
  const end = last === '' ? size : Math.min(Number(last) + 1, size);
  return start >= end ? 'none' : [start, end];
}
