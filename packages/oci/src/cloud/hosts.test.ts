import { ECRClient } from '@aws-sdk/client-ecr';
import { ECRPUBLICClient } from '@aws-sdk/client-ecr-public';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ecrApi, parseEcrHost, providerOfHost, sameRegistry } from './hosts.ts';

const ACCOUNT = '123456789012';
const OWN = `${ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com`;

describe('parseEcrHost', () => {
  it.each([
    [OWN, 'aws', 'us-east-1', 'amazonaws.com', false, false],
    [`${ACCOUNT}.dkr.ecr.mx-central-1.amazonaws.com`, 'aws', 'mx-central-1', 'amazonaws.com', false, false],
    [`${ACCOUNT}.dkr.ecr-fips.us-west-2.amazonaws.com`, 'aws', 'us-west-2', 'amazonaws.com', true, false],
    [`${ACCOUNT}.dkr-ecr.eu-west-1.on.aws`, 'aws', 'eu-west-1', 'amazonaws.com', false, true],
    [`${ACCOUNT}.dkr-ecr-fips.us-east-2.on.aws`, 'aws', 'us-east-2', 'amazonaws.com', true, true],
    [
      `${ACCOUNT}.dkr.ecr-fips.us-gov-west-1.amazonaws.com`,
      'aws-us-gov',
      'us-gov-west-1',
      'amazonaws.com',
      true,
      false,
    ],
    [
      `${ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com.cn`,
      'aws-cn',
      'cn-north-1',
      'amazonaws.com.cn',
      false,
      false,
    ],
    [
      `${ACCOUNT}.dkr-ecr.cn-northwest-1.on.amazonwebservices.com.cn`,
      'aws-cn',
      'cn-northwest-1',
      'amazonaws.com.cn',
      false,
      true,
    ],
    [
      `${ACCOUNT}.dkr.ecr.eusc-de-east-1.amazonaws.eu`,
      'aws-eusc',
      'eusc-de-east-1',
      'amazonaws.eu',
      false,
      false,
    ],
    [`${ACCOUNT}.dkr.ecr.us-iso-east-1.c2s.ic.gov`, 'aws-iso', 'us-iso-east-1', 'c2s.ic.gov', false, false],
    [
      `${ACCOUNT}.dkr.ecr.us-isob-east-1.sc2s.sgov.gov`,
      'aws-iso-b',
      'us-isob-east-1',
      'sc2s.sgov.gov',
      false,
      false,
    ],
    [
      `${ACCOUNT}.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk`,
      'aws-iso-e',
      'eu-isoe-west-1',
      'cloud.adc-e.uk',
      false,
      false,
    ],
    [
      `${ACCOUNT}.dkr.ecr.us-isof-south-1.csp.hci.ic.gov`,
      'aws-iso-f',
      'us-isof-south-1',
      'csp.hci.ic.gov',
      false,
      false,
    ],
  ])('reads %s', (host, partition, region, dnsSuffix, ...flags) => {
    const [fips, dualStack] = flags;
    const expected = { kind: 'private', account: ACCOUNT, region, partition, dnsSuffix, fips, dualStack };
    expect(parseEcrHost(host)).toEqual(expected);
    expect(providerOfHost(host)).toBe('aws');
  });

  it.each(['public.ecr.aws', 'ecr-public.aws.com'])('knows %s as ECR Public', (host) => {
    expect(parseEcrHost(host)).toEqual({ kind: 'public' });
  });

  it.each([
    ['a suffix', `${OWN}.evil.example`],
    ['a suffix without a dot', `${OWN}evil`],
    ['the suffix of another partition', `${OWN}.cn`],
    ['a region of another partition', `${ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com`],
    ['a region of no partition', `${ACCOUNT}.dkr.ecr.x.amazonaws.com`],
    ['dots in the region', `${ACCOUNT}.dkr.ecr.us-east-1.evil.amazonaws.com`],
    ['the classic form on the dual-stack domain', `${ACCOUNT}.dkr.ecr.us-east-1.on.aws`],
    ['the dual-stack form on the classic domain', `${ACCOUNT}.dkr-ecr.us-east-1.amazonaws.com`],
    ['a prefix', `evil-${OWN}`],
    ['a prefix label', `evil.${OWN}`],
    ['thirteen digits', `1${OWN}`],
    ['eleven digits', OWN.slice(1)],
    ['user information', `user@${OWN}`],
    ['user information that looks like ECR', `${OWN}@evil.example`],
    ['a port', `${OWN}:443`],
    ['upper case', OWN.toUpperCase()],
    ['a trailing dot', `${OWN}.`],
    ['a line break', `${OWN}\n`],
    ['a NUL', `${OWN}\0.evil.example`],
    ['a path', `${OWN}/x`],
    ['a scheme', `https://${OWN}`],
    ['any character for a dot', OWN.replaceAll('.', 'x')],
    ['a full-width dot', OWN.replace('.dkr', '．dkr')],
    ['digits of another script', OWN.replace('1', '１')],
    ['a Cyrillic letter', OWN.replace('amazonaws', 'аmazonaws')],
    ['a soft hyphen', OWN.replace('amazonaws', 'amazon\u00adaws')],
    ['a bucket', 'prod-us-east-1-starport-layer-bucket.s3.us-east-1.amazonaws.com'],
    ['the API itself', 'api.ecr.us-east-1.amazonaws.com'],
    ['a suffix of the public host', 'public.ecr.aws.evil.example'],
    ['a prefix of the public host', 'notpublic.ecr.aws'],
    ['a label before the public host', 'x.public.ecr.aws'],
    ['a port on the public host', 'public.ecr.aws:443'],
    ['nothing', ''],
  ])('takes no host with %s', (_what, host) => {
    expect(parseEcrHost(host)).toBeUndefined();
    expect(ecrApi(host)).toBeUndefined();
    expect(providerOfHost(host)).toBeUndefined();
  });

  it('takes nothing but the exact text, whatever is put into it or around it', () => {
    fc.assert(
      fc.property(fc.nat(OWN.length), fc.string({ minLength: 1, maxLength: 12 }), (at, more) => {
        const host = OWN.slice(0, at) + more + OWN.slice(at);
        const parsed = parseEcrHost(host);
        if (parsed === undefined) return;
        // What still is one must end in Amazon's own domain and begin with an account.
        expect(host).toMatch(/^\d{12}\.dkr\.ecr(-fips)?\.[a-z]{2}(-gov)?-[a-z]+-\d{1,2}\.amazonaws\.com$/);
      }),
    );
  });
});

describe('ecrApi', () => {
  it.each([
    [OWN, {}],
    [`${ACCOUNT}.dkr.ecr-fips.us-west-2.amazonaws.com`, { UseFIPS: true }],
    [`${ACCOUNT}.dkr-ecr.eu-west-1.on.aws`, { UseDualStack: true }],
    [`${ACCOUNT}.dkr-ecr-fips.us-east-2.on.aws`, { UseFIPS: true, UseDualStack: true }],
    [`${ACCOUNT}.dkr.ecr.us-gov-west-1.amazonaws.com`, {}],
    [`${ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com.cn`, {}],
    [`${ACCOUNT}.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn`, { UseDualStack: true }],
    [`${ACCOUNT}.dkr.ecr.eusc-de-east-1.amazonaws.eu`, {}],
    [`${ACCOUNT}.dkr.ecr.us-iso-east-1.c2s.ic.gov`, {}],
    [`${ACCOUNT}.dkr.ecr.us-isob-east-1.sc2s.sgov.gov`, {}],
    [`${ACCOUNT}.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk`, {}],
    [`${ACCOUNT}.dkr.ecr.us-isof-south-1.csp.hci.ic.gov`, {}],
    ['public.ecr.aws', {}],
    ['ecr-public.aws.com', { UseDualStack: true }],
  ])('places the API of %s where the SDK does', (registry, flags) => {
    const api = ecrApi(registry);
    const region = api?.region ?? '';
    const Client = api?.service === 'ecr-public' ? ECRPUBLICClient : ECRClient;
    const client = new Client({ region });
    const rules = client.config.endpointProvider({ Region: region, ...flags });
    expect(rules.url.host).toBe(api?.host);
    client.destroy();
  });
});

describe('providerOfHost', () => {
  it.each([
    ['contoso.azurecr.io', 'azure'],
    ['contoso-a1b2c3d4.azurecr.io', 'azure'],
    ['contoso.azurecr.cn', 'azure'],
    ['contoso.azurecr.us', 'azure'],
    ['contoso.azurecr.de', 'azure'],
    ['gcr.io', 'gcp'],
    ['eu.gcr.io', 'gcp'],
    ['europe-west3-docker.pkg.dev', 'gcp'],
    ['us-docker.pkg.dev', 'gcp'],
  ])('knows %s', (host, provider) => {
    expect(providerOfHost(host)).toBe(provider);
  });

  it.each([
    'azurecr.io',
    'a.b.azurecr.io',
    'contoso.azurecr.io.evil.example',
    'contoso.azurecr.com',
    'contosoazurecr.io',
    '.azurecr.io',
    'contoso.azurecr.io:443',
    'evilgcr.io',
    'a.b.gcr.io',
    'gcr.io.evil.example',
    'docker.pkg.dev',
    'x.europe-docker.pkg.dev',
    'europe-docker.pkg.dev.evil.example',
    'europe-docker-pkg.dev',
    'ghcr.io',
    'localhost:5000',
  ])('does not take %s for the registry of a cloud', (host) => {
    expect(providerOfHost(host)).toBeUndefined();
  });
});

it('shows the credential of ECR Public to its other name, and to nobody else', () => {
  expect(sameRegistry('public.ecr.aws', 'ecr-public.aws.com')).toBe(true);
  expect(sameRegistry(OWN, OWN)).toBe(true);
  expect(sameRegistry(OWN, OWN.replace('1234', '2234'))).toBe(false);
  expect(sameRegistry('public.ecr.aws', OWN)).toBe(false);
});
