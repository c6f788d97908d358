import type { Api } from '../api.ts';
import type { DocumentAnswer } from '../http/answer.ts';

/** Answers the paths of OpenAPI; `undefined` for any other. */
export function openApi(_api: Api, _path: string, _accept: string): DocumentAnswer | undefined {
  return undefined;
}
