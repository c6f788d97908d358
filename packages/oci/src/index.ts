export type { Content } from './answers.ts';
export {
  type BlobSource,
  type FetchedManifest,
  RegistryClient,
  type RegistryClientOptions,
} from './client.ts';
export {
  basicHeader,
  type Credential,
  type CredentialProvider,
  type CredentialRequest,
  credentialsFromDockerConfig,
  dockerConfig,
  dockerConfigOf,
  type RegistryLogin,
  staticCredentials,
} from './credentials.ts';
export {
  asDigest,
  type Digest,
  type DigestAlgorithm,
  digestOf,
  digestOfLarge,
  DigestVerifier,
  isDigest,
  parseDigest,
} from './digest.ts';
export { OciError, type OciErrorCode } from './errors.ts';
export {
  Descriptor,
  ImageIndex,
  ImageManifest,
  MAX_MANIFEST_BYTES,
  MEDIA_TYPES,
  type ParsedManifest,
  parseManifest,
} from './manifest.ts';
export {
  packArtifact,
  type PackedArtifact,
  type PackedBlob,
  type PackMetadata,
  type PackOptions,
} from './pack.ts';
export { type PulledArtifact, pullArtifact, type PullOptions } from './pull.ts';
export { pushArtifact, type PushOptions, type PushResult } from './push.ts';
export {
  formatReference,
  isValidRegistry,
  isValidRepository,
  isValidTag,
  parseReference,
  parseRepositoryUrl,
  type Reference,
} from './reference.ts';
export type { ArchiveLimits, UnpackedFile } from './tar-read.ts';
export type { PackFile } from './tar-write.ts';
export { extractLayer, unpackLayer } from './unpack.ts';
export { type CopyClient, type CopyEnd, copyArtifact, type CopyOptions, type CopyResult } from './copy.ts';
export { packDirectory, type PackDirectoryOptions } from './pack-directory.ts';
export {
  type CloudProvider,
  type EcrApi,
  ecrApi,
  type EcrHost,
  parseEcrHost,
  providerOfHost,
} from './cloud/hosts.ts';
export { type AwsOptions, awsCallerIdentity, awsEcrClient, cloudCredentials } from './cloud/credentials.ts';
export type { CallerIdentity, EcrClient } from './cloud/aws-token.ts';
export type { CloudCredentialOptions } from './cloud/options.ts';
export type { CheckStatus, PreflightCheck } from './preflight/check.ts';
export type { PreflightOptions, PreflightRole } from './preflight/options.ts';
export { preflight } from './preflight/preflight.ts';
export type { UploadStep, UploadTrial } from './upload-trial.ts';
