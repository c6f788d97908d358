import { ApiError } from '../status.ts';

/** The media type of Kubernetes' protobuf envelope. */
export const PROTOBUF = 'application/vnd.kubernetes.protobuf';

export function isProtobuf(mediaType: string): boolean {
  return mediaType === PROTOBUF;
}

export function decodeProtobuf(_bytes: Buffer): unknown {
  throw new ApiError('UnsupportedMediaType', 'the body of the request was in an unknown format');
}
