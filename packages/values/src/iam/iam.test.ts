import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  checkPermissionPolicy,
  checkTrustPolicy,
  type EcrRole,
  formatJudgement,
  parseValues,
  permissionPolicy,
  type TrustOptions,
  trustPolicy,
  type Values,
} from '../index.ts';
import { wholeFile } from '../testing/seed.ts';
import { matches } from './document.ts';

function read(text: string): Values {
  const { values, findings } = parseValues(text, 'values.yaml');
  expect(findings.filter(({ level }) => level === 'error')).toEqual([]);
  return values;
}

const PRIVATE = read(wholeFile('private'));
const PUBLIC = read(wholeFile('public'));
const ACCOUNT = '123456789012';
const ROLES: readonly EcrRole[] = ['push', 'pull', 'push-and-pull'];

/** The values of a hub and spokes that all use ECR, each with a registry of its own. */
function fleet(hub: string, ...spokes: string[]): Values {
  const entries = spokes.map(
    (endpoint, index) =>
      `    - name: spoke-${index + 1}\n      ociRegistry: { endpoint: '${endpoint}', repository: workloads, provider: aws }\n`,
  );
  return read(
    `hue:\n  ociRegistry: { endpoint: '${hub}', repository: workloads, provider: aws }\nfleetConfig:\n  spokes:\n${entries.join('')}`,
  );
}

describe('permissionPolicy', () => {
  it('is the policy of the guide for a private registry', () => {
    expect(JSON.stringify(permissionPolicy(PRIVATE, { role: 'push-and-pull' }), null, 2)).toBe(`{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": [
        "ecr:CompleteLayerUpload",
        "ecr:UploadLayerPart",
        "ecr:InitiateLayerUpload",
        "ecr:BatchCheckLayerAvailability",
        "ecr:PutImage",
        "ecr:BatchGetImage",
        "ecr:GetDownloadUrlForLayer"
      ],
      "Resource": "arn:aws:ecr:eu-west-1:123456789012:repository/team/mural-workloads"
    },
    {
      "Effect": "Allow",
      "Action": "ecr:GetAuthorizationToken",
      "Resource": "*"
    }
  ]
}`);
  });

  it('is the policy of the guide for a public registry, whose alias is no part of the ARN', () => {
    expect(
      JSON.stringify(permissionPolicy(PUBLIC, { role: 'push-and-pull', account: ACCOUNT }), null, 2),
    ).toBe(`{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": [
        "ecr-public:CompleteLayerUpload",
        "ecr-public:UploadLayerPart",
        "ecr-public:InitiateLayerUpload",
        "ecr-public:BatchCheckLayerAvailability",
        "ecr-public:PutImage"
      ],
      "Resource": "arn:aws:ecr-public::123456789012:repository/mural-workloads"
    },
    {
      "Effect": "Allow",
      "Action": [
        "ecr-public:GetAuthorizationToken",
        "sts:GetServiceBearerToken"
      ],
      "Resource": "*"
    }
  ]
}`);
  });

  it('gives who pulls no action that writes', () => {
    const [repository] = permissionPolicy(PRIVATE, { role: 'pull' }).Statement;
    expect(repository?.Action).toEqual(['ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer']);
    expect(permissionPolicy(PUBLIC, { role: 'pull' }).Statement).toEqual([
      {
        Effect: 'Allow',
        Action: ['ecr-public:GetAuthorizationToken', 'sts:GetServiceBearerToken'],
        Resource: '*',
      },
    ]);
  });

  it('gives who pushes no downloads', () => {
    const [repository] = permissionPolicy(PRIVATE, { role: 'push' }).Statement;
    expect(repository?.Action).toEqual([
      'ecr:CompleteLayerUpload',
      'ecr:UploadLayerPart',
      'ecr:InitiateLayerUpload',
      'ecr:BatchCheckLayerAvailability',
      'ecr:PutImage',
      'ecr:BatchGetImage',
    ]);
  });

  it.each([
    [
      '111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn',
      'arn:aws-cn:ecr:cn-north-1:111122223333:repository/a/workloads',
    ],
    [
      '111122223333.dkr.ecr.us-gov-west-1.amazonaws.com',
      'arn:aws-us-gov:ecr:us-gov-west-1:111122223333:repository/a/workloads',
    ],
    [
      '111122223333.dkr.ecr-fips.us-east-1.amazonaws.com',
      'arn:aws:ecr:us-east-1:111122223333:repository/a/workloads',
    ],
    ['111122223333.dkr-ecr.eu-west-1.on.aws', 'arn:aws:ecr:eu-west-1:111122223333:repository/a/workloads'],
  ])('names the repository of %s as %s', (host, arn) => {
    const values = fleet(`oci://${host}/a`);
    expect(permissionPolicy(values, { role: 'push' }).Statement[0]?.Resource).toBe(arn);
  });

  it('lists several repositories, and private apart from public', () => {
    const host = 'oci://111122223333.dkr.ecr.eu-west-1.amazonaws.com/a';
    const other = 'oci://111122223333.dkr.ecr.us-east-1.amazonaws.com/a';
    const values = fleet(host, host, other, 'oci://public.ecr.aws/a1b2');
    expect(permissionPolicy(values, { role: 'push' }).Statement).toHaveLength(2);
    const { Statement } = permissionPolicy(values, { role: 'push-and-pull', account: ACCOUNT });
    expect(Statement.map(({ Resource }) => Resource)).toEqual([
      [
        'arn:aws:ecr:eu-west-1:111122223333:repository/a/workloads',
        'arn:aws:ecr:us-east-1:111122223333:repository/a/workloads',
      ],
      '*',
      'arn:aws:ecr-public::123456789012:repository/workloads',
      '*',
    ]);
  });

  it('says what is missing', () => {
    expect(() => permissionPolicy(PUBLIC, { role: 'push' })).toThrow(
      /account of public\.ecr\.aws is missing/,
    );
    expect(() => permissionPolicy(PUBLIC, { role: 'push', account: '12' })).toThrow(/12 digits/);
    expect(() => permissionPolicy(read(''), { role: 'push' })).toThrow(/names no registry of ECR/);
  });
});

const HUB = 'https://oidc.eks.eu-west-1.amazonaws.com/id/ABC123';
const SPOKE = 'https://oidc.eks.us-east-1.amazonaws.com/id/DEF456/';
const NAMES: TrustOptions = {
  hubIssuer: HUB,
  spokeIssuers: {},
  namespace: 'mural-system',
  spokeNamespaces: {},
  role: 'push-and-pull',
};

describe('trustPolicy', () => {
  it('is the policy of the guide, with an audience', () => {
    const issuer = 'oidc.eks.eu-west-1.amazonaws.com/id/ABC123';
    expect(trustPolicy(PRIVATE, NAMES)).toEqual({
      Version: '2012-10-17',
      Statement: [
        {
          Effect: 'Allow',
          Principal: { Federated: `arn:aws:iam::123456789012:oidc-provider/${issuer}` },
          Action: 'sts:AssumeRoleWithWebIdentity',
          Condition: {
            StringEquals: {
              [`${issuer}:sub`]: [
                'system:serviceaccount:mural-system:hue',
                'system:serviceaccount:mural-system:source-controller',
              ],
              [`${issuer}:aud`]: 'sts.amazonaws.com',
            },
          },
        },
      ],
    });
  });

  it('lets each cluster in through an issuer of its own, and hue on the hub alone', () => {
    const { Statement } = trustPolicy(PRIVATE, {
      ...NAMES,
      spokeIssuers: { 'spoke-1': SPOKE },
      spokeNamespaces: { 'spoke-1': 'edge' },
    });
    expect(Statement).toHaveLength(2);
    expect(Statement[1]?.Principal.Federated).toMatch(
      /oidc-provider\/oidc\.eks\.us-east-1\.amazonaws\.com\/id\/DEF456$/,
    );
    expect(Statement[1]?.Condition.StringEquals['oidc.eks.us-east-1.amazonaws.com/id/DEF456:sub']).toBe(
      'system:serviceaccount:edge:source-controller',
    );
  });

  it('merges clusters with one issuer, and splits by role', () => {
    const shared = { ...NAMES, spokeIssuers: { 'spoke-1': HUB } };
    expect(trustPolicy(PRIVATE, shared)).toEqual(trustPolicy(PRIVATE, NAMES));
    const subjects = (role: EcrRole) =>
      Object.values(trustPolicy(PRIVATE, { ...shared, role }).Statement[0]?.Condition.StringEquals ?? {})[0];
    expect(subjects('push')).toBe('system:serviceaccount:mural-system:hue');
    // The hub pulls as its own spoke, with hue's token.
    expect(subjects('pull')).toEqual([
      'system:serviceaccount:mural-system:hue',
      'system:serviceaccount:mural-system:source-controller',
    ]);
  });

  it.each([
    [{ spokeIssuers: { 'spoke-2': SPOKE } }, /names no spoke spoke-2/],
    [{ hubIssuer: 'http://a.example' }, /no OpenID Connect issuer/],
    [{ hubIssuer: 'https://user@a.example' }, /no OpenID Connect issuer/],
    [{ hubIssuer: 'https://a.example/?q' }, /no OpenID Connect issuer/],
    [{ hubIssuer: undefined }, /no issuer/],
    [{ namespace: 'Mural' }, /name of a namespace/],
  ] as const)('refuses %j', (change, message) => {
    expect(() => trustPolicy(PRIVATE, { ...NAMES, ...change })).toThrow(message);
  });

  it('takes partition and account from the role', () => {
    const text = wholeFile('private').replaceAll('arn:aws:iam::123456789012', 'arn:aws:iam::999988887777');
    const { Statement } = trustPolicy(parseValues(text, 'v').values, NAMES);
    expect(Statement[0]?.Principal.Federated).toMatch(/^arn:aws:iam::999988887777:/);
  });
});

/** The judgements of a policy as lines. */
function checked(policy: unknown, role: EcrRole = 'push-and-pull'): string[] {
  return checkPermissionPolicy(permissionPolicy(PRIVATE, { role }), JSON.stringify(policy), 'p.json').map(
    formatJudgement,
  );
}

const ARN = 'arn:aws:ecr:eu-west-1:123456789012:repository/team/mural-workloads';
const TOKEN = { Effect: 'Allow', Action: 'ecr:GetAuthorizationToken', Resource: '*' };

function allow(Action: unknown, Resource: unknown = ARN): unknown {
  return { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action, Resource }, TOKEN] };
}

describe('checkPermissionPolicy', () => {
  it.each(ROLES)('finds nothing in what is needed for %s', (role) => {
    expect(checked(permissionPolicy(PRIVATE, { role }), role)).toEqual([]);
  });

  it.each([
    [
      'an action list as one string, in another case',
      allow('ECR:batchgetimage'),
      'missing: ecr:GetDownloadUrlForLayer on',
    ],
    ['another repository', allow(['ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer'], `${ARN}-2`), 'alone'],
    [
      'no token',
      {
        Statement: {
          Effect: 'Allow',
          Action: ['ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer'],
          Resource: ARN,
        },
      },
      'missing: ecr:GetAuthorizationToken on *: no statement allows it',
    ],
    [
      'wildcards',
      allow('ecr:*'),
      'excess: statement 1: ecr:* allows every action of that pattern, and only ecr:BatchGetImage',
    ],
    [
      'every resource',
      allow(['ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer'], '*'),
      'excess: statement 1: * covers more than',
    ],
    [
      'more than needed',
      allow(['ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer', 's3:GetObject']),
      'excess: statement 1: s3:GetObject is not needed',
    ],
    [
      'NotAction',
      { Statement: [{ Effect: 'Allow', NotAction: 'iam:*', Resource: '*' }] },
      'unclear: statement 1: cannot judge NotAction',
    ],
    [
      'a denial',
      {
        Statement: [
          { Effect: 'Allow', Action: '*', Resource: '*' },
          { Effect: 'Deny', Action: 'ecr:Batch*', Resource: '*' },
        ],
      },
      'missing: ecr:BatchGetImage on arn:aws:ecr:eu-west-1:123456789012:repository/team/mural-workloads: statement 2 denies it',
    ],
    [
      'a condition',
      {
        Statement: [
          {
            Effect: 'Allow',
            Action: '*',
            Resource: '*',
            Condition: { Bool: { 'aws:SecureTransport': true } },
          },
        ],
      },
      'unclear: ecr:BatchGetImage on',
    ],
    [
      'the token on a repository alone',
      { Statement: [{ Effect: 'Allow', Action: 'ecr:*', Resource: ARN }] },
      'missing: ecr:GetAuthorizationToken on *: statement 1 allows it on',
    ],
  ])('tells of %s', (_name, policy, line) => {
    expect(checked(policy, 'pull').join('\n')).toContain(line);
  });

  it('takes what the AWS CLI prints around a policy', () => {
    const policy = permissionPolicy(PRIVATE, { role: 'push' });
    expect(checked({ RoleName: 'a', PolicyDocument: policy }, 'push')).toEqual([]);
    expect(checked({ PolicyVersion: { Document: policy } }, 'push')).toEqual([]);
  });

  it.each(['', '[]', '{}', '{"Statement":[{"Effect":"Permit"}]}'])('refuses %j with one reason', (text) => {
    const needed = permissionPolicy(PRIVATE, { role: 'pull' });
    expect(() => checkPermissionPolicy(needed, text, 'p.json')).toThrow(/^p\.json is no IAM policy: /);
  });

  it('tells exactly the actions that were taken away, however the rest is spread over statements', () => {
    const needed = permissionPolicy(PRIVATE, { role: 'push-and-pull' });
    const pairs = needed.Statement.flatMap(({ Action, Resource }) =>
      [Action].flat().map((action) => ({ action, resource: [Resource].flat()[0] ?? '' })),
    );
    fc.assert(
      fc.property(fc.subarray(pairs), fc.boolean(), (kept, asList) => {
        const Statement = kept.map(({ action, resource }) => ({
          Effect: 'Allow',
          Action: asList ? [action] : action,
          Resource: asList ? [resource] : resource,
        }));
        const missing = checked({ Statement }).map((line) => line.split(' ')[1]);
        expect(missing).toEqual(pairs.filter((pair) => !kept.includes(pair)).map(({ action }) => action));
      }),
    );
  });
});

describe('checkTrustPolicy', () => {
  const issuer = 'oidc.eks.eu-west-1.amazonaws.com/id/ABC123';
  const needed = trustPolicy(PRIVATE, NAMES);
  const hue = 'system:serviceaccount:mural-system:hue';
  const source = 'system:serviceaccount:mural-system:source-controller';
  const lines = (Condition: unknown, change: Record<string, unknown> = {}) => {
    const statement = { ...needed.Statement[0], Condition, ...change };
    return checkTrustPolicy(needed, JSON.stringify({ Statement: [statement] }), 't.json').map(
      formatJudgement,
    );
  };

  it('finds nothing in what is needed', () => {
    expect(checkTrustPolicy(needed, JSON.stringify(needed), 't.json')).toEqual([]);
    expect(
      checkTrustPolicy(needed, JSON.stringify({ Role: { AssumeRolePolicyDocument: needed } }), 't'),
    ).toEqual([]);
  });

  it('misses only the audience in the policy of the guide', () => {
    const found = lines({ StringEquals: { [`${issuer}:sub`]: [hue, source] } });
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(
      /^excess: statement 1: no condition on .*:aud; add StringEquals sts\.amazonaws\.com/,
    );
  });

  it.each([
    [
      'a service account less',
      { StringEquals: { [`${issuer}:sub`]: hue } },
      {},
      `missing: ${source} of ${issuer}: the Condition of statement 1 keeps it out`,
    ],
    [
      'StringLike that fits',
      { StringLike: { [`${issuer}:sub`]: 'system:serviceaccount:mural-system:*' } },
      {},
      'lets in more than',
    ],
    [
      'a pattern under StringEquals, which is none',
      { StringEquals: { [`${issuer}:sub`]: 'system:serviceaccount:*:*' } },
      {},
      `missing: ${hue}`,
    ],
    ['no condition', undefined, {}, 'excess: statement 1: no condition on'],
    ['another audience', { StringEquals: { [`${issuer}:aud`]: 'sts' } }, {}, `missing: ${hue}`],
    [
      'another provider',
      undefined,
      { Principal: { Federated: 'arn:aws:iam::1:oidc-provider/x' } },
      `missing: ${hue} of ${issuer}: no statement lets`,
    ],
    ['everybody', undefined, { Principal: '*' }, 'excess: statement 1: the principal * is not needed'],
    [
      'an operator that depends on the request',
      { StringEqualsIfExists: { [`${issuer}:sub`]: hue } },
      {},
      `unclear: ${hue}`,
    ],
    [
      'another action',
      undefined,
      { Action: ['sts:AssumeRoleWithWebIdentity', 'sts:TagSession'] },
      'excess: statement 1: sts:TagSession is not needed',
    ],
    [
      'a condition on the scheme',
      { StringEquals: { [`https://${issuer}:sub`]: hue } },
      {},
      `unclear: ${hue}`,
    ],
  ])('tells of %s', (_name, condition, change, line) => {
    expect(lines(condition, change).join('\n')).toContain(line);
  });
});

describe('matches', () => {
  it('agrees with a regular expression', () => {
    const char = fc.constantFrom('a', 'b', '*', '?');
    fc.assert(
      fc.property(
        fc.array(char, { maxLength: 8 }),
        fc.array(fc.constantFrom('a', 'b'), { maxLength: 8 }),
        (pattern, text) => {
          const expression = pattern.map((one) => (one === '*' ? '.*' : one === '?' ? '.' : one)).join('');
          expect(matches(pattern.join(''), text.join(''))).toBe(
            new RegExp(`^${expression}$`).test(text.join('')),
          );
        },
      ),
      { numRuns: 1000 },
    );
  });
});
