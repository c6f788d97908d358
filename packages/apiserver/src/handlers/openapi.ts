import { createHash } from 'node:crypto';
import type { Api } from '../api.ts';
import type { TextAnswer } from '../http/answer.ts';
import { openApiV2, openApiV3, openApiV3Index, type ServedResource } from '../openapi/index.ts';
import { CRD_STORAGE } from '../resources/registry.ts';
import type { ApiResource } from '../resources/types.ts';
import { groupVersion } from '../resources/types.ts';

/** The only form of the second version that kubectl asks for. */
const V2_PROTOBUF = 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf';
/**
 * A document in that form (gnostic's `openapi.v2.Document`): `swagger` and `info`, and no paths.
 * kubectl turns to it only for kinds that the third version does not have, which are those that are
 * not served at all; it then says so.
 */
const EMPTY_V2 = '\n\x032.0\x12\x10\n\x0aKubernetes\x12\x02v1';

/** Documents by their path, as long as what they describe stays the same. */
interface Kept {
  readonly hash: string;
  readonly text: string;
}

/** Serves `/openapi/v2` and `/openapi/v3`, and remembers what it made. */
export class OpenApiDocuments {
  readonly #api: Api;
  readonly #kept = new Map<string, Kept>();

  constructor(api: Api) {
    this.#api = api;
  }

  /** Answers the paths of OpenAPI; `undefined` for any other. */
  answer(path: string, accept: string): TextAnswer | undefined {
    if (path === '/openapi/v2') return this.#v2(accept);
    if (path === '/openapi/v3' || path === '/openapi/v3/') return json(JSON.stringify(this.#index()));
    const rest = /^\/openapi\/v3\/(api|apis)\/(.+)$/.exec(path);
    if (rest === null) return undefined;
    const name = rest[2] ?? '';
    const resources = this.#api.resources.all().filter((one) => groupVersion(one) === name);
    const core = rest[1] === 'api';
    if (resources.length === 0 || core === name.includes('/')) return undefined;
    return json(this.#keep(path, this.#hashOf(resources), () => openApiV3(name, resources.flatMap(served))));
  }

  #v2(accept: string): TextAnswer {
    const readsJson = accept === '' || /json|\*\/\*/.test(accept);
    if (!readsJson) return { type: 'text', status: 200, text: EMPTY_V2, contentType: V2_PROTOBUF };
    const resources = this.#api.resources.all();
    return json(
      this.#keep('/openapi/v2', this.#hashOf(resources), () => openApiV2(resources.flatMap(served))),
    );
  }

  #index(): object {
    const groups = new Map<string, ApiResource[]>();
    for (const resource of this.#api.resources.all()) {
      const name = groupVersion(resource);
      const path = `${name.includes('/') ? 'apis' : 'api'}/${name}`;
      groups.set(path, [...(groups.get(path) ?? []), resource]);
    }
    return openApiV3Index([...groups].map(([path, resources]) => ({ path, hash: this.#hashOf(resources) })));
  }

  /** Changes with the definitions of the custom resources; built-in ones change with the program only. */
  #hashOf(resources: readonly ApiResource[]): string {
    const hash = createHash('sha256').update('1');
    for (const crd of new Set(resources.map((resource) => resource.custom?.crd))) {
      if (crd === undefined) continue;
      const { uid = '', generation = 0 } = this.#api.store.get(CRD_STORAGE, '', crd)?.metadata ?? {};
      hash.update(`${uid}/${generation}\n`);
    }
    return hash.digest('hex').slice(0, 32).toUpperCase();
  }

  #keep(path: string, hash: string, make: () => object): string {
    const kept = this.#kept.get(path);
    if (kept?.hash === hash) return kept.text;
    const text = JSON.stringify(make());
    this.#kept.set(path, { hash, text });
    return text;
  }
}

function json(text: string): TextAnswer {
  return { type: 'text', status: 200, text, contentType: 'application/json' };
}

function served(resource: ApiResource): ServedResource[] {
  const { group, version, kind, plural, namespaced } = resource;
  const schema = resource.schema();
  return schema === undefined ? [] : [{ group, version, kind, plural, namespaced, schema }];
}
