export { type Digest, digestOf, isDigest, isValidRepository, isValidTag, parseDigest } from '@mural/oci';
