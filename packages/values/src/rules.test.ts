import { TEST_TLS } from '@mural/oci/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fixValues, formatFinding, hasErrors, lintValues } from './index.ts';
import { wholeFile } from './testing/seed.ts';

const HOST = '123456789012.dkr.ecr.eu-west-1.amazonaws.com';
const PRIVATE = `endpoint: oci://${HOST}/team\nrepository: workloads\nprovider: aws`;
const PUBLIC = 'endpoint: oci://public.ecr.aws/a1b2\nrepository: workloads\nprovider: aws';

function hub(lines: string): string {
  return `hue:\n  ociRegistry:\n${lines.replace(/^/gm, '    ')}\n`;
}

function spoke(lines: string, name = 'spoke-1'): string {
  return `fleetConfig:\n  spokes:\n    - name: ${name}\n      ociRegistry:\n${lines.replace(/^/gm, '        ')}\n`;
}

function roles(hue: string, source: string): string {
  const role = (arn: string) => `serviceAccount: { annotations: { eks.amazonaws.com/role-arn: '${arn}' } }`;
  return `${hub(PRIVATE)}  ${role(hue)}\nflux2:\n  sourceController:\n    ${role(source)}\n`;
}

function lint(text: string): string[] {
  return lintValues(text, 'v').map(({ level, rule, line, column }) => `${line}:${column} ${level} ${rule}`);
}

const ROLE = 'arn:aws:iam::123456789012:role/mural';

describe('the CA of a registry', () => {
  const SITE = 'endpoint: oci://site.example:5000/mural\nrepository: workloads';
  const block = (pem: string) => `ca: |\n${pem.trim().replace(/^/gm, '  ')}`;
  const messages = (lines: string) => lintValues(spoke(lines), 'v').map(({ message }) => message);

  it('is certificates of a registry that a spoke reads', () => {
    expect(lint(spoke(`${SITE}\n${block(TEST_TLS.ca)}`))).toEqual([]);
    expect(lint(spoke(`${SITE}\n${block(`${TEST_TLS.ca}\n${TEST_TLS.ca}`)}`))).toEqual([]);
  });

  it.each([
    ['the name of a file', 'ca: site-ca.crt', 'holds no certificate'],
    ['a certificate cut short', block(TEST_TLS.ca.slice(0, 200)), 'holds no certificate'],
    ['a damaged certificate', block(TEST_TLS.ca.replace('MII', 'AAA')), 'cannot be read (number 1)'],
    ['a key', block(TEST_TLS.key), 'holds a private key'],
  ])('is not %s', (_what, ca, reason) => {
    const [message = '', ...others] = messages(`${SITE}\n${ca}`);
    expect(others).toEqual([]);
    expect(message).toContain('fleetConfig.spokes[0].ociRegistry.ca');
    expect(message).toContain(reason);
    expect(message).not.toContain('MII');
  });

  it('is told where it is not used', () => {
    expect(messages(`${SITE}\ninsecure: true\n${block(TEST_TLS.ca)}`).join()).toContain('is not used');
    expect(messages(block(TEST_TLS.ca)).join()).toContain('is read only beside an endpoint');
  });
});

describe('addresses', () => {
  it.each([
    HOST,
    '123456789012.dkr.ecr-fips.us-east-1.amazonaws.com',
    '123456789012.dkr-ecr.eu-west-1.on.aws',
    '123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn',
    '123456789012.dkr.ecr.us-gov-west-1.amazonaws.com',
  ])('accepts %s with the provider aws', (host) => {
    expect(lint(hub(PRIVATE.replace(HOST, host)))).toEqual([]);
  });

  it.each([
    ['12345678901.dkr.ecr.eu-west-1.amazonaws.com', 'an account is 12 digits'],
    [`${HOST}.evil.example`, 'is no region with its domain'],
    ['123456789012.dkr.ecr.eu-west-1.amazonaws.com.cn', 'is no region with its domain'],
    ['123456789012.dkr.ecr.amazonaws.com', 'is no region with its domain'],
    [`a.${HOST}`, 'private is'],
    ['public.ecr.aws.example', 'public is public.ecr.aws'],
    ['ecr-public.example', 'public is public.ecr.aws'],
    [`${HOST}:443`, 'ECR has no port'],
  ])('refuses %s: %s', (host, reason) => {
    const text = hub(PRIVATE.replace(HOST, host));
    expect(lint(text)).toEqual(['3:15 error ecr-host']);
    expect(lintValues(text, 'v')[0]?.message).toContain(reason);
    expect(lint(text.replace('provider: aws', 'provider: generic'))).toEqual(['3:15 warning ecr-host']);
  });

  it.each([
    ['oci://r.example/a/', 'oci://r.example/a'],
    ['oci://r.example//a', 'oci://r.example/a'],
    ['oci:///r.example/a', 'oci://r.example/a'],
    ['https://r.example/a', 'oci://r.example/a'],
    ['docker://r.example:5000/a//b/', 'oci://r.example:5000/a/b'],
    ['r.example/a', 'oci://r.example/a'],
    ['OCI://r.example/a', 'oci://r.example/a'],
    ['oci://R.Example/a', 'oci://r.example/a'],
  ])('%s is to be %s', (endpoint, right) => {
    const text = hub(`endpoint: ${endpoint} # where\nrepository: workloads`);
    const [finding, ...more] = lintValues(text, 'v');
    expect(more).toEqual([]);
    expect(finding).toMatchObject({ rule: 'endpoint', level: 'error', fix: right, fixable: true });
    expect(fixValues(text, 'v')).toMatchObject({ text: text.replace(endpoint, right), findings: [] });
  });

  it.each([
    ['http://r.example/a', 'insecure: true'],
    ['oci://r.example/a:v1', 'tag'],
    [`oci://r.example/a@sha256:${'0'.repeat(64)}`, 'digest'],
    ['oci://r.example/Team', 'upper case'],
    ['oci://r.example/a?b=c', 'query'],
    ['oci://r.example/a b', 'white space'],
    ['oci://u:hunter2@r.example/a', 'credentials'],
    ['https://u:hunt/er2@r.example/a', 'credentials'],
    ['""', 'is empty'],
    ['oci://', 'names no host'],
    ['oci://r_.example:port/a', 'no valid host'],
  ])('refuses %s and leaves it alone', (endpoint, reason) => {
    const text = hub(`endpoint: ${endpoint}\nrepository: workloads`);
    const [finding, ...more] = lintValues(text, 'v');
    expect(more).toEqual([]);
    expect(finding).toMatchObject({ rule: 'endpoint', level: 'error' });
    expect(finding?.message).toContain(reason);
    expect(finding?.message).not.toMatch(/hunt|er2/);
    expect(fixValues(text, 'v').text).toBe(text);
  });

  it.each([
    [PRIVATE.replace('/team', '/team/workloads'), '3:15 warning endpoint-repository'],
    [PRIVATE.replace('workloads', 'my__workloads'), '4:17 error ecr-repository'],
    [PUBLIC.replace('/a1b2', ''), '3:15 error ecr-public-alias'],
    [PUBLIC.replace('a1b2', '123456789012'), '3:15 error ecr-public-alias'],
    [PUBLIC.replace('a1b2', 'a1b2/team'), '3:15 warning ecr-public-alias'],
    [`${PRIVATE}\ninsecure: true`, '6:15 error ecr-insecure'],
  ])('judges what endpoint and repository come to in %j', (lines, finding) => {
    expect(lint(hub(lines)).filter((line) => !line.endsWith('warning ecr-public'))).toEqual([finding]);
  });
});

describe('providers', () => {
  it.each([
    [
      PRIVATE.replace('\nprovider: aws', ''),
      ['3:15 error provider-host'],
      PRIVATE.replace('repo', "provider: 'aws'\nrepo").replace(/\nprovider: aws$/, ''),
    ],
    [
      PRIVATE.replace('aws$', 'generic').replace('provider: aws', 'provider: generic'),
      ['5:15 error provider-host'],
      PRIVATE,
    ],
    [PRIVATE.replace('provider: aws', 'provider: AWS'), ['5:15 error value'], PRIVATE],
    [`${PRIVATE}\ninsecure: true`, ['6:15 error ecr-insecure'], `${PRIVATE}\ninsecure: false`],
  ])('mends %j', (lines, findings, right) => {
    expect(lint(hub(lines))).toEqual(findings);
    expect(fixValues(hub(lines), 'v').text).toBe(hub(right));
  });

  it.each([
    ['aws with a registry of nobody', 'endpoint: oci://r.example/a\nrepository: b\nprovider: aws', 'error'],
    ['gcp with ECR', PRIVATE.replace('provider: aws', 'provider: gcp'), 'error'],
    ['aws with Azure', 'endpoint: oci://a.azurecr.io/a\nrepository: b\nprovider: aws', 'error'],
    ['aws without an endpoint', 'provider: aws', 'error'],
    [
      'a password of ECR, which expires',
      PRIVATE.replace('provider: aws', 'basicAuth: { username: AWS, password: hunter2 }'),
      'warning',
    ],
  ])('%s: does not guess', (_name, lines, level) => {
    const findings = lintValues(hub(lines), 'v');
    expect(findings).toMatchObject([{ rule: 'provider-host', level }]);
    expect(fixValues(hub(lines), 'v').text).toBe(hub(lines));
  });

  it('lets a spoke pull anonymously from ECR Public, and says what that costs', () => {
    const text = hub(PUBLIC) + spoke(PUBLIC.replace('\nprovider: aws', ''));
    expect(lint(text)).toEqual(['3:15 warning ecr-public', '10:19 warning provider-host']);
  });
});

describe('the hub and its spokes', () => {
  it.each([
    ['the same', PRIVATE, []],
    ['another namespace', PRIVATE.replace('/team', '/other'), ['10:19 error spoke-registry']],
    ['another repository', PRIVATE.replace('workloads', 'mural-workloads'), ['11:21 error spoke-registry']],
    [
      'a replica in another region',
      PRIVATE.replace('eu-west-1', 'us-east-1'),
      ['10:19 warning spoke-registry'],
    ],
    ['another host of the same registry', PRIVATE.replace(HOST, '123456789012.dkr-ecr.eu-west-1.on.aws'), []],
    [
      'another host of the same registry, and another repository',
      PRIVATE.replace('.dkr.ecr.', '.dkr.ecr-fips.').replace('workloads', 'other'),
      ['11:21 error spoke-registry'],
    ],
    ['no endpoint, but a repository', 'repository: other', ['10:9 warning spoke-registry']],
  ])('%s', (_name, lines, findings) => {
    expect(lint(hub(PRIVATE) + spoke(lines))).toEqual(findings);
  });

  const PLAIN = 'endpoint: oci://r.example/a\nrepository: b';
  const AUTH = `${PLAIN}\nbasicAuth: { username: a, password: hunter2 }`;
  it.each([
    ['plain HTTP on one side', PLAIN, `${PLAIN}\ninsecure: true`, ['11:19 error spoke-registry']],
    ['a user on one side', AUTH, PLAIN, ['9:19 warning spoke-basic-auth']],
    ['another user', AUTH, AUTH.replace('username: a', 'username: reader'), []],
  ])('%s', (_name, hubLines, spokeLines, findings) => {
    const shift = AUTH === hubLines ? 1 : 0;
    const moved = findings.map((line) => line.replace(/^\d+/, (number) => String(Number(number) + shift)));
    expect(lint(hub(hubLines) + spoke(spokeLines))).toEqual(moved);
  });

  it('warns of a spoke in ECR while hue writes the embedded registry', () => {
    expect(lint(spoke(PRIVATE))).toEqual(['5:19 warning spoke-registry']);
  });

  it('compares nothing that still holds placeholders', () => {
    expect(lint(hub(PRIVATE) + spoke(PRIVATE.replace('workloads', '<repo>')))).toEqual([
      '11:21 error placeholder',
    ]);
  });
});

describe('roles', () => {
  it.each([
    [roles(ROLE, `${ROLE}-pull`), []],
    [roles(ROLE, ROLE.replace('role/', 'role/path/')), []],
    [roles(ROLE, ROLE.replace('1234', '34')), ['9:66 error role-arn']],
    [roles(ROLE.replace('role/', 'user/'), ROLE), ['6:64 error role-arn']],
    [roles(ROLE, ROLE.replace('1234', '9999')), ['9:66 warning role-account']],
    [roles(ROLE, ROLE.replace('arn:aws', 'arn:aws-cn')), ['9:66 error role-partition']],
    [roles(ROLE, ROLE.replace('mural', '<iam-role-name>')), ['9:66 error placeholder']],
  ])('judges %j', (text, findings) => {
    expect(lint(text)).toEqual(findings);
  });

  const annotation = `eks.amazonaws.com/role-arn: ${ROLE}`;
  it.each([
    [`hue:\n  annotations: { ${annotation} }\n`, 'hue.serviceAccount.annotations'],
    [`hue:\n  serviceAccount: { ${annotation} }\n`, 'hue.serviceAccount.annotations'],
    [
      `flux2:\n  sourceController: { annotations: { ${annotation} } }\n`,
      'flux2.sourceController.serviceAccount.annotations',
    ],
    [
      `flux2:\n  sourceController: { serviceAccount: { ${annotation} } }\n`,
      'flux2.sourceController.serviceAccount.annotations',
    ],
    [
      `fleetConfig:\n  spokes: [{ name: a, annotations: { ${annotation} } }]\n`,
      'hue.serviceAccount.annotations',
    ],
  ])('finds the role in the wrong place in %j', (text, place) => {
    const findings = lintValues(text, 'v');
    expect(findings).toMatchObject([{ rule: 'role-placement', level: 'error' }]);
    expect(findings[0]?.message).toContain(`belongs into ${place}`);
  });

  it('lets other controllers and other charts have roles of their own', () => {
    expect(
      lint(`flux2:\n  kustomizeController: { serviceAccount: { annotations: { ${annotation} } } }\n`),
    ).toEqual([]);
    expect(lint(`canvas: { annotations: { ${annotation} } }\n`)).toEqual([]);
  });

  it('warns of a role on one of the two accounts, and of annotations that nobody writes', () => {
    const one = `${hub(PRIVATE)}  serviceAccount:\n    create: false\n    annotations: { ${annotation} }\n`;
    expect(lint(one)).toEqual(['7:13 warning service-account-not-created', '8:20 warning role-missing']);
  });

  it('says nothing where no account has a role: the machine may have one', () => {
    expect(lint(hub(PRIVATE))).toEqual([]);
  });
});

describe('what --fix does', () => {
  const mistakes: readonly (readonly [string, string])[] = [
    ['oci://123', 'https://123'],
    ['/team', '/team/'],
    ["'aws'", "'AWS'"],
    ['serviceAccount', 'serviceaccount'],
    ['sourceController', 'SourceController'],
    ['insecure: false', 'insecure: true'],
    ['enabled: true', 'enabled: "true"'],
    ['automount: true', "automount: 'True' # why"],
    ['  interval: 5m', '  basicAuth:\n      username: admin\n      password: 87654321\n    interval: 5m'],
  ];

  it('turns a file with any of these mistakes back into the file without, comments and all', () => {
    const right = wholeFile('private').replace('hue:', '# the hub\nhue: # of the fleet');
    fc.assert(
      fc.property(fc.subarray([...mistakes]), (made) => {
        const wrong = made.reduce((text, [from, to]) => text.replaceAll(from, to), right);
        const { text, findings, fixed } = fixValues(wrong, 'v');
        expect(text).toBe(
          made.some(([, to]) => to.includes('# why'))
            ? right.replace('automount: true', 'automount: true # why')
            : right,
        );
        expect(findings).toEqual([]);
        expect(fixed.length > 0).toBe(made.length > 0);
        expect(JSON.stringify(fixed)).not.toContain('87654321');
      }),
    );
  });

  it('keeps the line ends of Windows', () => {
    const text = hub(PRIVATE.replace('\nprovider: aws', '')).replaceAll('\n', '\r\n');
    expect(fixValues(text, 'v').text).toBe(
      hub(PRIVATE.replace('\nprovider: aws', '').replace('repo', "provider: 'aws'\nrepo")).replaceAll(
        '\n',
        '\r\n',
      ),
    );
  });

  it.each([
    [
      'what stands elsewhere too',
      `x: &r { endpoint: https://r.example/a, repository: b }\nhue: { ociRegistry: *r }\n`,
    ],
    ['a key whose right spelling is there as well', 'zot:\n  Enabled: true\n  enabled: true\n'],
    ['a guess', 'zott: {}\n'],
    [
      'a text in a block',
      'hue:\n  ociRegistry:\n    repository: b\n    endpoint: |-\n      https://r.example/a\n',
    ],
    ['what is no YAML', 'hue: [\n'],
  ])('leaves %s alone', (_name, text) => {
    const { text: after, fixed, findings } = fixValues(text, 'v');
    expect(after).toBe(text);
    expect(fixed).toEqual([]);
    expect(findings.length).toBeGreaterThan(0);
  });

  it('never makes a file worse, and is done after one time', () => {
    const word = fc.constantFrom(
      'hue',
      'Hue',
      'ociRegistry',
      'endpoint',
      'insecure',
      'provider',
      'basicAuth',
      'zot',
      'enabled',
    );
    const value = fc.constantFrom(
      '',
      ' "true"',
      ' AWS',
      ' https://a.example/b/',
      ` oci://${HOST}`,
      ' {}',
      ' &a x',
      ' *a',
      " 'x' # c",
      ' |',
    );
    const line = fc.tuple(fc.nat(3), word, value);
    fc.assert(
      fc.property(fc.array(line, { maxLength: 8 }), (lines) => {
        const before = lines.map(([depth, key, text]) => `${'  '.repeat(depth)}${key}:${text}`).join('\n');
        const { text, findings } = fixValues(before, 'v');
        expect(fixValues(text, 'v')).toMatchObject({ text, fixed: [] });
        if (!hasErrors(lintValues(before, 'v'))) expect(hasErrors(findings)).toBe(false);
      }),
      { numRuns: 300 },
    );
  });
});

describe('a file made to be slow or deep', () => {
  it.each([
    ['many placeholders', Array.from({ length: 5000 }, (_, index) => `k${index}: <a>`).join('\n')],
    ['deep lists', `a: ${'['.repeat(5000)}`],
    ['a long line', `hue: ${'x'.repeat(1_000_000)}`],
    ['a long address', hub(`endpoint: oci://${'a-'.repeat(50_000)}\nrepository: b`)],
  ])('%s: ends soon, with some findings', (_name, text) => {
    const findings = lintValues(text, 'v');
    expect(findings.length).toBeGreaterThan(0);
    expect(findings.length).toBeLessThanOrEqual(13 * 500);
  });
});

describe('passwords', () => {
  it('are in no finding, however they are written', () => {
    const start = fc.constantFrom(
      '',
      '*',
      '!',
      '&',
      '|',
      '>',
      '%',
      '@',
      '`',
      '"',
      "'",
      '{',
      '[',
      '<',
      '# ',
      '? ',
      '- ',
      '<<: ',
      '"\\x',
    );
    const end = fc.constantFrom('', '>', ':', ': x', '}', ']', '"', "'", ' #', ', a: b', '\n  x', '\n   - y');
    const place = fc.constantFrom(
      'password: ',
      'password:\n          ',
      'Password: ',
      'pasword: ',
      'username: a\n        password: ',
      '',
    );
    fc.assert(
      fc.property(place, start, end, (key, before, after) => {
        const section = `basicAuth:\n        ${key}${before}hunter2${after}`;
        const text = `fleetConfig:\n  spokes:\n  - name: a\n    ociRegistry:\n      provider: aws\n      ${section}\n`;
        const { findings, fixed } = fixValues(text, 'v');
        const shown = [...findings, ...fixed, ...lintValues(text, 'v')];
        expect(shown.map(formatFinding).join('\n')).not.toContain('hunter2');
        expect(JSON.stringify(shown)).not.toContain('hunter2');
      }),
      { numRuns: 600 },
    );
  });
});
