import type { OciErrorCode } from '../errors.ts';
import { ecrApi } from './hosts.ts';

/** A request that a registry refused, as far as it matters to IAM. */
export interface RefusedRequest {
  readonly host: string;
  readonly method: string;
  readonly subject: 'manifest' | 'blob' | 'upload' | 'tags' | 'referrers' | 'registry';
  readonly repository: string | undefined;
}

/** What ECR's refusal means and what to do about it. */
export interface EcrRefusal {
  /** The IAM action that is missing: `ecr:PutImage`. */
  readonly action?: string;
  readonly hint?: string;
}

const ACTION = /not authorized to perform:?\s+(ecr(?:-public)?:[A-Za-z]{2,80})/;
/** The action behind each request; a refused HEAD has no body that would name it. */
const ACTIONS: Readonly<Record<string, string>> = {
  'GET manifest': 'BatchGetImage',
  'HEAD manifest': 'BatchGetImage',
  'PUT manifest': 'PutImage',
  'DELETE manifest': 'BatchDeleteImage',
  'GET blob': 'GetDownloadUrlForLayer',
  'HEAD blob': 'BatchCheckLayerAvailability',
  'POST upload': 'InitiateLayerUpload',
  'PATCH upload': 'UploadLayerPart',
  'PUT upload': 'CompleteLayerUpload',
  'GET tags': 'ListImages',
  'GET referrers': 'BatchGetImage',
  'GET registry': 'GetAuthorizationToken',
};

/** The IAM action that a refusal of ECR names in its text. */
export function namedAction(text: string): string | undefined {
  return ACTION.exec(text)?.[1];
}

/** Explains an error of a registry of ECR; nothing about any other registry. */
export function explainEcr(request: RefusedRequest, code: OciErrorCode, text: string): EcrRefusal {
  const api = ecrApi(request.host);
  if (api === undefined) return {};
  const { repository } = request;
  if (code === 'AccessDenied') {
    const usual = ACTIONS[`${request.method} ${request.subject}`];
    const action = namedAction(text) ?? (usual === undefined ? undefined : `${api.service}:${usual}`);
    if (action === undefined) return {};
    const where = repository === undefined ? '' : ` on the repository ${nameOf(api.service, repository)}`;
    return { action, hint: `Allow ${action}${where} in an IAM policy of this identity.` };
  }
  if (code === 'NameUnknown' && repository !== undefined) {
    const name = nameOf(api.service, repository);
    return {
      hint: `The repository must be created first: aws ${api.service} create-repository --repository-name ${name} --region ${api.region}`,
    };
  }
  if (code === 'TagImmutable') {
    return {
      hint: 'Tags of this repository cannot be moved. Make it MUTABLE, or IMMUTABLE_WITH_EXCLUSION with a filter for the tags that move.',
    };
  }
  return {};
}

/** What the AWS CLI and ARNs call a repository: without the alias on ECR Public. */
function nameOf(service: string, repository: string): string {
  return service === 'ecr-public' ? repository.slice(repository.indexOf('/') + 1) : repository;
}
