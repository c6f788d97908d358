/** A cloud whose identities can sign in to its own registries. */
export type CloudProvider = 'aws' | 'azure' | 'gcp';

/** What the host name of an Amazon ECR registry says. */
export type EcrHost =
  | {
      readonly kind: 'private';
      /** Twelve digits. */
      readonly account: string;
      readonly region: string;
      /** `aws`, `aws-cn`, `aws-us-gov`, …: the second part of an ARN. */
      readonly partition: string;
      /** The domain of the partition, `amazonaws.com`: the same for dual-stack hosts. */
      readonly dnsSuffix: string;
      readonly fips: boolean;
      readonly dualStack: boolean;
    }
  | { readonly kind: 'public' };

/** Where and how the API of a registry of ECR is called. */
export interface EcrApi {
  /** The name that requests are signed for. */
  readonly service: 'ecr' | 'ecr-public';
  /** The region that requests are signed for, and whose STS is asked. */
  readonly region: string;
  /** The host of the API. */
  readonly host: string;
  readonly fips: boolean;
  readonly dualStack: boolean;
}

interface Partition {
  readonly name: string;
  readonly regions: RegExp;
  readonly dnsSuffix: string;
  /** The domain of the dual-stack registries. The isolated partitions have published none. */
  readonly registrySuffix?: string;
  readonly apiSuffix: string;
}

/** As the AWS SDKs list them; `aws` last, since its rule would take the regions of the others too. */
const PARTITIONS: readonly Partition[] = [
  {
    name: 'aws-cn',
    regions: /^cn-[a-z]+-\d{1,2}$/,
    dnsSuffix: 'amazonaws.com.cn',
    registrySuffix: 'on.amazonwebservices.com.cn',
    apiSuffix: 'api.amazonwebservices.com.cn',
  },
  {
    name: 'aws-us-gov',
    regions: /^us-gov-[a-z]+-\d{1,2}$/,
    dnsSuffix: 'amazonaws.com',
    registrySuffix: 'on.aws',
    apiSuffix: 'api.aws',
  },
  {
    name: 'aws-eusc',
    regions: /^eusc-[a-z]{2}-[a-z]+-\d{1,2}$/,
    dnsSuffix: 'amazonaws.eu',
    apiSuffix: 'api.amazonwebservices.eu',
  },
  {
    name: 'aws-iso',
    regions: /^us-iso-[a-z]+-\d{1,2}$/,
    dnsSuffix: 'c2s.ic.gov',
    apiSuffix: 'api.aws.ic.gov',
  },
  {
    name: 'aws-iso-b',
    regions: /^us-isob-[a-z]+-\d{1,2}$/,
    dnsSuffix: 'sc2s.sgov.gov',
    apiSuffix: 'api.aws.scloud',
  },
  {
    name: 'aws-iso-e',
    regions: /^eu-isoe-[a-z]+-\d{1,2}$/,
    dnsSuffix: 'cloud.adc-e.uk',
    apiSuffix: 'api.cloud-aws.adc-e.uk',
  },
  {
    name: 'aws-iso-f',
    regions: /^us-isof-[a-z]+-\d{1,2}$/,
    dnsSuffix: 'csp.hci.ic.gov',
    apiSuffix: 'api.aws.hci.ic.gov',
  },
  {
    name: 'aws',
    regions: /^[a-z]{2}-[a-z]+-\d{1,2}$/,
    dnsSuffix: 'amazonaws.com',
    registrySuffix: 'on.aws',
    apiSuffix: 'api.aws',
  },
];

const PRIVATE = /^(\d{12})\.dkr([.-])ecr(-fips)?\.([a-z0-9-]{1,40})\.([a-z0-9.-]{1,60})$/;
/** The second is the one that answers over IPv6 too. */
const PUBLIC_HOSTS: readonly string[] = ['public.ecr.aws', 'ecr-public.aws.com'];
/** The one region whose API gives tokens for ECR Public. */
const PUBLIC_REGION = 'us-east-1';

/** Name of a registry, or name and hash where the domain name label is scoped. */
const AZURE = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.azurecr\.(?:io|cn|us|de)$/;
/** Container Registry's own and regional hosts, and those of Artifact Registry. */
const GCP =
  /^(?:(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)?gcr\.io|[a-z0-9](?:[a-z0-9-]{0,54}[a-z0-9])?-docker\.pkg\.dev)$/;

/**
 * Reads the host of an ECR registry, private or public: the whole of it, in lower case, without scheme,
 * port or trailing dot. Region and domain must belong to one partition.
 *
 * @returns `undefined` for every other host, also for those that merely look alike
 */
export function parseEcrHost(host: string): EcrHost | undefined {
  if (PUBLIC_HOSTS.includes(host)) return { kind: 'public' };
  const match = PRIVATE.exec(host);
  if (match === null) return undefined;
  const [, account = '', separator, fips, region = '', suffix] = match;
  const dualStack = separator === '-';
  const partition = partitionOf(region);
  if (partition === undefined) return undefined;
  if ((dualStack ? partition.registrySuffix : partition.dnsSuffix) !== suffix) return undefined;
  return {
    kind: 'private',
    account,
    region,
    partition: partition.name,
    dnsSuffix: partition.dnsSuffix,
    fips: fips !== undefined,
    dualStack,
  };
}

/**
 * The API beside a registry of ECR, as the endpoint rules of the AWS SDKs place it. That of ECR Public is
 * in us-east-1 alone.
 *
 * @param registry the host of the registry
 * @returns `undefined` for what {@link parseEcrHost} does not know
 */
export function ecrApi(registry: string): EcrApi | undefined {
  const parsed = parseEcrHost(registry);
  if (parsed === undefined) return undefined;
  if (parsed.kind === 'public') {
    const dualStack = registry !== 'public.ecr.aws';
    const host = dualStack
      ? `ecr-public.${PUBLIC_REGION}.api.aws`
      : `api.ecr-public.${PUBLIC_REGION}.amazonaws.com`;
    return { service: 'ecr-public', region: PUBLIC_REGION, host, fips: false, dualStack };
  }
  const { region, fips, dualStack } = parsed;
  const name = fips ? 'ecr-fips' : 'ecr';
  const host = dualStack
    ? `${name}.${region}.${partitionOf(region)?.apiSuffix ?? ''}`
    : `api.${name}.${region}.${parsed.dnsSuffix}`;
  return { service: 'ecr', region, host, fips, dualStack };
}

/**
 * The cloud that a registry belongs to.
 *
 * @param host without scheme and port, in lower case
 * @returns `undefined` for every registry that is not exactly one of a cloud's
 */
export function providerOfHost(host: string): CloudProvider | undefined {
  if (parseEcrHost(host) !== undefined) return 'aws';
  if (AZURE.test(host)) return 'azure';
  return GCP.test(host) ? 'gcp' : undefined;
}

/** Whether a credential for the registry `own` may be shown to `host`: only to itself, and ECR Public has two names. */
export function sameRegistry(own: string, host: string): boolean {
  return own === host || (PUBLIC_HOSTS.includes(own) && PUBLIC_HOSTS.includes(host));
}

function partitionOf(region: string): Partition | undefined {
  return PARTITIONS.find(({ regions }) => regions.test(region));
}
