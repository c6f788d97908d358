import { MuralError } from '@mural/core';
import type { KubeStatus } from '@mural/kube';
import { type FieldError, fieldErrorBody, formatFieldErrors } from './schema/index.ts';

/** The reasons of a failed `Status` that this server answers (`k8s.io/apimachinery` `StatusReason`). */
export type StatusReason =
  | 'AlreadyExists'
  | 'BadRequest'
  | 'Conflict'
  | 'Expired'
  | 'Forbidden'
  | 'Gone'
  | 'InternalError'
  | 'Invalid'
  | 'MethodNotAllowed'
  | 'NotAcceptable'
  | 'NotFound'
  | 'RequestEntityTooLarge'
  | 'ServiceUnavailable'
  | 'Timeout'
  | 'TooManyRequests'
  | 'Unauthorized'
  /** No reason at all: what Kubernetes answers for a failure without a type. */
  | 'Unknown'
  | 'UnsupportedMediaType';

/** `metav1.StatusCause`. */
export interface StatusCause {
  readonly reason: string;
  readonly message: string;
  readonly field?: string;
}

/** `metav1.StatusDetails`. */
export interface StatusDetails {
  readonly name?: string;
  readonly group?: string;
  readonly kind?: string;
  readonly uid?: string;
  readonly causes?: readonly StatusCause[];
  readonly retryAfterSeconds?: number;
}

const HTTP_STATUS: Readonly<Record<StatusReason, number>> = {
  AlreadyExists: 409,
  BadRequest: 400,
  Conflict: 409,
  Expired: 410,
  Forbidden: 403,
  Gone: 410,
  InternalError: 500,
  Invalid: 422,
  MethodNotAllowed: 405,
  NotAcceptable: 406,
  NotFound: 404,
  RequestEntityTooLarge: 413,
  ServiceUnavailable: 503,
  Timeout: 504,
  TooManyRequests: 429,
  Unauthorized: 401,
  Unknown: 500,
  UnsupportedMediaType: 415,
};

/** An answer that is a failure, in the words of the Kubernetes API. */
export class ApiError extends MuralError<StatusReason> {
  readonly details: StatusDetails | undefined;
  /** `metav1.ListMeta` of the answer: an expired list carries the token to go on with. */
  readonly metadata: Readonly<Record<string, unknown>>;

  constructor(
    reason: StatusReason,
    message: string,
    details?: StatusDetails,
    metadata: Readonly<Record<string, unknown>> = {},
  ) {
    super(reason, message);
    this.details = details;
    this.metadata = metadata;
  }

  get httpStatus(): number {
    return HTTP_STATUS[this.code];
  }

  /** The body of the answer. */
  toStatus(): KubeStatus {
    return {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: this.metadata,
      status: 'Failure',
      message: this.message,
      ...(this.code === 'Unknown' ? {} : { reason: this.code }),
      ...(this.details === undefined ? {} : { details: { ...this.details } }),
      code: this.httpStatus,
    };
  }
}

/** What an error names: the resource of a group, as in `deployments.apps`. */
export interface ResourceName {
  readonly group: string;
  readonly plural: string;
}

/** `deployments.apps`, or `pods` in the core group. */
export function qualified(resource: ResourceName): string {
  return resource.group === '' ? resource.plural : `${resource.plural}.${resource.group}`;
}

function detailsOf(resource: ResourceName, name: string): StatusDetails {
  return {
    ...(name === '' ? {} : { name }),
    ...(resource.group === '' ? {} : { group: resource.group }),
    kind: resource.plural,
  };
}

export function notFound(resource: ResourceName, name: string): ApiError {
  return new ApiError('NotFound', `${qualified(resource)} "${name}" not found`, detailsOf(resource, name));
}

/** A path that nothing serves. */
export function noSuchPath(): ApiError {
  return new ApiError('NotFound', 'the server could not find the requested resource', {});
}

export function alreadyExists(resource: ResourceName, name: string, beingDeleted = false): ApiError {
  const prefix = beingDeleted ? 'object is being deleted: ' : '';
  return new ApiError(
    'AlreadyExists',
    `${prefix}${qualified(resource)} "${name}" already exists`,
    detailsOf(resource, name),
  );
}

export function conflict(resource: ResourceName, name: string, why: string): ApiError {
  return new ApiError(
    'Conflict',
    `Operation cannot be fulfilled on ${qualified(resource)} "${name}": ${why}`,
    detailsOf(resource, name),
  );
}

/** The words of a failed optimistic lock. */
export const MODIFIED =
  'the object has been modified; please apply your changes to the latest version and try again';

export function forbidden(
  resource: ResourceName,
  name: string,
  why: string,
  causes?: StatusCause[],
): ApiError {
  const subject =
    name === '' ? `${qualified(resource)} is forbidden` : `${qualified(resource)} "${name}" is forbidden`;
  return new ApiError('Forbidden', `${subject}: ${why}`, {
    ...detailsOf(resource, name),
    ...(causes === undefined ? {} : { causes }),
  });
}

export function badRequest(message: string): ApiError {
  return new ApiError('BadRequest', message);
}

/** The kind with its group, as `Deployment.apps`. */
function qualifiedKind(resource: { readonly group: string; readonly kind: string }): string {
  return resource.group === '' ? resource.kind : `${resource.kind}.${resource.group}`;
}

/** 422: what is wrong with each field (`errors.NewInvalid`). */
export function invalid(
  resource: { readonly group: string; readonly kind: string },
  name: string,
  errors: readonly FieldError[],
): ApiError {
  const causes = errors.map((error) => ({
    reason: `FieldValue${error.type}`,
    message: fieldErrorBody(error),
    field: error.field,
  }));
  return new ApiError('Invalid', formatFieldErrors(qualifiedKind(resource), name, errors), {
    ...(name === '' ? {} : { name }),
    ...(resource.group === '' ? {} : { group: resource.group }),
    kind: resource.kind,
    causes,
  });
}
