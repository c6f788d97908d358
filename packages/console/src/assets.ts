import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';

/** A file of the page, ready to be sent. */
export interface Asset {
  readonly body: Buffer;
  readonly contentType: string;
  /** Strong validator of RFC 9110 §8.8.3, with its quotes. */
  readonly etag: string;
}

const FOLDER = new URL('../static/', import.meta.url);
const SCRIPT = 'text/javascript; charset=utf-8';

/** Everything that is served: path, file, type. Nothing else of the folder can be asked for. */
const FILES: readonly (readonly [path: string, file: string, contentType: string])[] = [
  ['/', 'index.html', 'text/html; charset=utf-8'],
  ['/style.css', 'style.css', 'text/css; charset=utf-8'],
  ['/icon.svg', 'icon.svg', 'image/svg+xml'],
  ['/app.js', 'app.js', SCRIPT],
  ['/api.js', 'api.js', SCRIPT],
  ['/dom.js', 'dom.js', SCRIPT],
  ['/model.js', 'model.js', SCRIPT],
  ['/view.js', 'view.js', SCRIPT],
];

/** Reads the files of the page, by the path that each is served at. */
export async function loadAssets(): Promise<ReadonlyMap<string, Asset>> {
  const entries = FILES.map(async ([path, file, contentType]) => {
    const body = await readFile(new URL(file, FOLDER));
    const etag = `"${createHash('sha256').update(body).digest('base64url')}"`;
    return [path, { body, contentType, etag }] as const;
  });
  return new Map(await Promise.all(entries));
}

/** Whether `If-None-Match` names the asset (RFC 9110 §13.1.2: the comparison is weak). */
export function isKnown(asset: Asset, ifNoneMatch: string | undefined): boolean {
  if (ifNoneMatch === undefined) return false;
  const tags = ifNoneMatch.split(',').map((tag) => tag.trim().replace(/^W\//, ''));
  return tags.includes('*') || tags.includes(asset.etag);
}
