import { isRecord, rfc3339 } from '@mural/core';
import type { Api, User } from '../api.ts';
import type { Authenticator } from '../auth/users.ts';
import type { Attributes, Rule } from '../auth/rules.ts';
import { ISSUER } from '../auth/tokens.ts';
import type { DocumentAnswer } from '../http/answer.ts';
import { decodeObject, readBody } from '../http/body.ts';
import type { ResourceRequest } from '../http/request.ts';
import type { Stored } from '../objects.ts';
import { dig, digString, digStrings } from '../objects.ts';
import { badRequest, invalid, notFound } from '../status.ts';
import { typed } from './admit.ts';

/** Resources that are questions: nothing of them is stored. */
const REVIEWS: Readonly<Record<string, Review>> = {
  'authorization.k8s.io/selfsubjectaccessreviews': async (api, sent, request) =>
    accessReview(api, sent, request.user),
  'authorization.k8s.io/subjectaccessreviews': async (api, sent) => accessReview(api, sent, subjectOf(sent)),
  'authorization.k8s.io/localsubjectaccessreviews': async (api, sent) =>
    accessReview(api, sent, subjectOf(sent)),
  'authorization.k8s.io/selfsubjectrulesreviews': async (api, sent, request) =>
    rulesReview(api, sent, request.user),
  'authentication.k8s.io/selfsubjectreviews': async (_api, _sent, { user }) => ({
    status: { userInfo: userInfo(user) },
  }),
  'authentication.k8s.io/tokenreviews': tokenReview,
};

type Review = (
  api: ReviewContext,
  sent: Stored,
  request: ResourceRequest,
) => Promise<{ readonly status: object }>;

/** What reviews ask beside the store. */
export type ReviewContext = Api & { readonly authenticator: Authenticator };

/** Whether a resource is a question rather than something stored. */
export function isReview(storage: string): boolean {
  return Object.hasOwn(REVIEWS, storage);
}

/** POST of a review: the answer is the question with its status. */
export async function createReview(api: ReviewContext, request: ResourceRequest): Promise<DocumentAnswer> {
  const { resource } = request;
  const sent = typed(decodeObject(await readBody(request.message)), resource);
  const review = REVIEWS[resource.storage];
  if (review === undefined) throw badRequest('not a review');
  const { status } = await review(api, sent, request);
  return { type: 'document', status: 201, document: { ...sent, status } };
}

async function accessReview(
  api: ReviewContext,
  sent: Stored,
  user: User,
): Promise<{ readonly status: object }> {
  const spec = sent['spec'];
  const resource = dig(spec, 'resourceAttributes');
  const path = dig(spec, 'nonResourceAttributes');
  if (!isRecord(resource) && !isRecord(path)) {
    const detail = 'exactly one of nonResourceAttributes or resourceAttributes must be specified';
    throw invalid({ group: 'authorization.k8s.io', kind: sent.kind }, '', [
      { field: 'spec.resourceAttributes', type: 'Invalid', detail, badValue: null },
    ]);
  }
  const wanted: Attributes = {
    verb: digString(resource ?? path, 'verb'),
    isResource: isRecord(resource),
    group: digString(resource, 'group'),
    plural: digString(resource, 'resource'),
    subresource: digString(resource, 'subresource'),
    namespace: digString(resource, 'namespace'),
    name: digString(resource, 'name'),
    path: digString(path, 'path'),
  };
  const allowed = api.authorizer.allows(user, wanted);
  return { status: { allowed, ...(allowed ? { reason: 'RBAC: allowed' } : {}) } };
}

function subjectOf(sent: Stored): User {
  const spec = sent['spec'];
  return { name: digString(spec, 'user'), groups: digStrings(spec, 'groups') };
}

async function rulesReview(
  api: ReviewContext,
  sent: Stored,
  user: User,
): Promise<{ readonly status: object }> {
  const namespace = digString(sent, 'spec', 'namespace');
  const master: Rule[] = user.groups.includes('system:masters')
    ? [
        { verbs: ['*'], apiGroups: ['*'], resources: ['*'], resourceNames: [], nonResourceURLs: [] },
        { verbs: ['*'], apiGroups: [], resources: [], resourceNames: [], nonResourceURLs: ['*'] },
      ]
    : [];
  const rules = [...master, ...api.authorizer.rulesFor(user, namespace)];
  return {
    status: {
      resourceRules: rules
        .filter((rule) => rule.resources.length > 0)
        .map(({ verbs, apiGroups, resources, resourceNames }) => ({
          verbs,
          apiGroups,
          resources,
          ...(resourceNames.length > 0 ? { resourceNames } : {}),
        })),
      nonResourceRules: rules
        .filter((rule) => rule.nonResourceURLs.length > 0)
        .map(({ verbs, nonResourceURLs }) => ({ verbs, nonResourceURLs })),
      incomplete: false,
    },
  };
}

function userInfo(user: User): object {
  return {
    username: user.name,
    ...(user.uid === undefined ? {} : { uid: user.uid }),
    groups: user.groups,
    ...(user.extra === undefined ? {} : { extra: user.extra }),
  };
}

async function tokenReview(api: ReviewContext, sent: Stored): Promise<{ readonly status: object }> {
  const token = digString(sent, 'spec', 'token');
  const audiences = digStrings(sent, 'spec', 'audiences');
  const verified = await api.tokens.verify(token, audiences.length === 0 ? [ISSUER] : audiences);
  const user =
    verified?.user ?? (audiences.length === 0 ? await api.authenticator.identifyToken(token) : undefined);
  if (user === undefined)
    return { status: { authenticated: false, user: {}, error: 'the token is not valid' } };
  const status = { authenticated: true, user: userInfo(user), audiences: verified?.audiences ?? [ISSUER] };
  return { status };
}

const SHORTEST_SECONDS = 600;
const LONGEST_SECONDS = 2 ** 32;
const USUAL_SECONDS = 3600;
/** What a token may be bound to: the storage names of the kinds. */
const BINDABLE: Readonly<Record<string, string>> = { Pod: 'pods', Secret: 'secrets', Node: 'nodes' };

/** POST to `serviceaccounts/NAME/token`. */
export async function requestToken(api: Api, request: ResourceRequest): Promise<DocumentAnswer> {
  const { info, resource } = request;
  const account = api.store.get('serviceaccounts', info.namespace, info.name);
  if (account === undefined) throw notFound(resource, info.name);
  const sent = decodeObject(await readBody(request.message));
  const audiences = digStrings(sent, 'spec', 'audiences');
  const asked = dig(sent, 'spec', 'expirationSeconds');
  const seconds = typeof asked === 'number' ? asked : USUAL_SECONDS;
  if (seconds < SHORTEST_SECONDS || seconds > LONGEST_SECONDS) {
    const detail =
      seconds < SHORTEST_SECONDS
        ? 'may not specify a duration less than 10 minutes'
        : 'may not specify a duration larger than 2^32 seconds';
    throw invalid({ group: 'authentication.k8s.io', kind: 'TokenRequest' }, '', [
      { field: 'spec.expirationSeconds', type: 'Invalid', detail, badValue: seconds },
    ]);
  }
  const bound = boundObject(api, sent, info.namespace);
  const { token, expires } = await api.tokens.issue(account, {
    audiences: audiences.length === 0 ? [ISSUER] : audiences,
    seconds,
    ...(bound === undefined ? {} : { bound }),
  });
  const document = {
    kind: 'TokenRequest',
    apiVersion: 'authentication.k8s.io/v1',
    metadata: {
      name: info.name,
      namespace: info.namespace,
      creationTimestamp: rfc3339(api.clock.now()),
    },
    spec: {
      ...(isRecord(sent['spec']) ? sent['spec'] : {}),
      audiences: audiences.length === 0 ? [ISSUER] : audiences,
      expirationSeconds: seconds,
    },
    status: { token, expirationTimestamp: rfc3339(expires) },
  };
  return { type: 'document', status: 201, document };
}

function boundObject(
  api: Api,
  sent: Record<string, unknown>,
  namespace: string,
): { readonly kind: string; readonly name: string; readonly uid: string } | undefined {
  const reference = dig(sent, 'spec', 'boundObjectRef');
  if (!isRecord(reference)) return undefined;
  const kind = digString(reference, 'kind');
  const storage = BINDABLE[kind];
  if (storage === undefined)
    throw badRequest(`cannot bind token for serviceaccount to object of type ${kind}`);
  const name = digString(reference, 'name');
  const found = api.store.get(storage, storage === 'nodes' ? '' : namespace, name);
  if (found === undefined) throw notFound({ group: '', plural: storage }, name);
  return { kind, name, uid: found.metadata.uid ?? '' };
}
