import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { defaultValues, formatFinding, lintValues, parseValues } from './index.ts';

const ECR = `hue:
  ociRegistry:
    enabled: true
    endpoint: 'oci://123456789012.dkr.ecr.eu-west-1.amazonaws.com/team'
    repository: 'mural-workloads'
    insecure: false
    interval: 5m
    timeout: 60s
    provider: 'aws'
  serviceAccount:
    create: true
    annotations:
      eks.amazonaws.com/role-arn: arn:aws:iam::123456789012:role/mural
fleetConfig:
  enabled: true
  spokes:
    - name: spoke-1
      labels: { tier: edge }
      kubeconfig: { inCluster: true }
      ociRegistry:
        endpoint: 'oci://123456789012.dkr.ecr.eu-west-1.amazonaws.com/team'
        repository: 'mural-workloads'
        provider: 'aws'
flux2:
  policies: { create: false }
  sourceController:
    resources: {}
    serviceAccount:
      create: true
      automount: true
      annotations:
        eks.amazonaws.com/role-arn: arn:aws:iam::123456789012:role/mural-pull
zot:
  enabled: false
  service: { nodePort: 30003 }
global: { dns: { domain: mural.example } }
`;

function hub(lines: string): string {
  const indented = lines.split('\n').map((line) => `    ${line}`);
  return `hue:\n  ociRegistry:\n${indented.join('\n')}\n`;
}

describe('lintValues', () => {
  it('finds nothing wrong in a complete file with keys of other charts', () => {
    expect(lintValues(ECR, 'values.yaml')).toEqual([]);
  });

  it('finds nothing wrong in an empty file', () => {
    expect(lintValues('', 'values.yaml')).toEqual([]);
    expect(lintValues('# only a comment\n', 'values.yaml')).toEqual([]);
  });

  it.each([
    ['yaml', 'a: 1\nb: [1\nc: 2\n', '3:1'],
    ['yaml', '\ta: 1\n', '1:1'],
    ['duplicate-key', 'zot: {}\nhue: {}\nzot: {}\n', '3:1'],
    ['single-document', 'zot: {}\n---\nzot: {}\n', '2:1'],
    ['mapping', '- hue\n', '1:1'],
    ['mapping', 'hue\n', '1:1'],
    ['key-case', 'hue:\n  ociregistry: {}\n', '2:3'],
    ['key-case', 'Hue: {}\n', '1:1'],
    ['key-case', 'flux2:\n  sourceController:\n    serviceaccount: {}\n', '3:5'],
    ['key-case', 'fleetConfig:\n  spokes:\n    - name: a\n      ociRegistry: { Endpoint: x }\n', '4:22'],
    ['unknown-key', hub('endpont: oci://a/b'), '3:5'],
    ['unknown-key', hub('basicAuth: { user: a, username: a, password: b }'), '3:18'],
    ['unknown-key', 'fleetConfig:\n  spokes:\n    - name: a\n      label: {}\n', '4:7'],
    ['unknown-key', 'zott: {}\n', '1:1'],
    ['type', hub('insecure: "no"'), '3:15'],
    ['type', hub('timeout: 60'), '3:14'],
    ['type', 'hue: yes please\n', '1:6'],
    ['type', 'fleetConfig:\n  spokes: { name: a }\n', '2:11'],
    ['value', hub('provider: amazon'), '3:15'],
    ['required', 'fleetConfig:\n  spokes:\n    - labels: {}\n', '3:7'],
    ['endpoint', hub('repository: b\nendpoint: https://registry.example/a'), '4:15'],
    ['endpoint', hub('repository: b\nendpoint: oci://registry.example/a:v1'), '4:15'],
    ['endpoint', hub('repository: b\nendpoint: oci://user:secret@registry.example/a'), '4:15'],
    ['placeholder', hub('repository: b\nendpoint: oci://<account>.dkr.ecr.eu.amazonaws.com'), '4:15'],
    ['endpoint', hub('repository: b\nendpoint: oci:///a'), '4:15'],
    ['endpoint', hub('repository: b\nendpoint: oci://registry.example/A'), '4:15'],
    ['repository', hub('endpoint: oci://registry.example/a'), '3:5'],
    ['repository', hub('repository: oci://registry.example/a'), '3:17'],
    ['repository', hub('repository: a:latest'), '3:17'],
    ['duration', hub('interval: often'), '3:15'],
    ['duration', hub('timeout: 0s'), '3:14'],
    ['basic-auth', hub('basicAuth: { username: a }'), '3:5'],
    [
      'basic-auth-provider',
      hub(
        'repository: b\nendpoint: oci://a.azurecr.io\nprovider: azure\nbasicAuth: { username: a, password: b }',
      ),
      '6:5',
    ],
    ['spoke-name', 'fleetConfig:\n  spokes:\n    - name: Spoke_1\n', '3:13'],
    ['spoke-name', 'fleetConfig:\n  spokes: [{ name: a }, { name: a }]\n', '2:33'],
    ['no-registry', 'zot:\n  enabled: false\n', '2:12'],
  ])('finds one error (%s) in %j at %s', (rule, text, position) => {
    const findings = lintValues(text, 'values.yaml');
    expect(findings.map((finding) => [finding.rule, finding.level])).toEqual([[rule, 'error']]);
    expect(findings.map((finding) => `${finding.line}:${finding.column}`)).toEqual([position]);
  });

  it('names the key that was meant', () => {
    const findings = lintValues('hue:\n  ociRegistry:\n    intervall: 5m\n', 'values.yaml');
    expect(findings.map(formatFinding)).toEqual([
      'values.yaml:3:5: error: unknown key hue.ociRegistry.intervall, did you mean interval? (unknown-key)',
    ]);
    expect(findings[0]?.fix).toBe('interval');
  });

  it('names the right case of a key', () => {
    const [finding] = lintValues('flux2:\n  sourceController:\n    serviceaccount: {}\n', 'v.yaml');
    expect(finding?.message).toContain('flux2.sourceController.serviceAccount');
    expect(finding?.fix).toBe('serviceAccount');
  });

  it('warns of a tree that nothing reads', () => {
    const findings = lintValues('somethingElse: {}\n', 'values.yaml');
    expect(findings).toMatchObject([{ level: 'warning', rule: 'unknown-key' }]);
  });

  it('puts no secret into a message', () => {
    const text = hub(
      'basicAuth: { username: a, password: [hunter2] }\nendpoint: oci://u:hunter2@r.example/a',
    );
    expect(JSON.stringify(lintValues(text, 'values.yaml'))).not.toContain('hunter2');
  });

  it('reports every finding in the order of the file', () => {
    const text = hub('endpoint: http://a\nrepository: b\ninterval: x\ninsecure: 1');
    expect(lintValues(text, 'v.yaml').map((finding) => finding.line)).toEqual([3, 5, 6]);
  });

  it('finds the place of a value behind an alias', () => {
    const text =
      'x-registry: &r\n  endpoint: oci://a.example/b:tag\n  repository: c\nhue:\n  ociRegistry: *r\n';
    const findings = lintValues(text, 'v.yaml').filter((finding) => finding.level === 'error');
    expect(findings).toMatchObject([{ rule: 'endpoint', line: 2 }]);
  });

  it('refuses aliases that blow up', () => {
    const lines = Array.from({ length: 12 }, (_, index) => {
      const before = index === 0 ? 'x' : `*a${index - 1}`;
      return `k${index}: &a${index} [${Array.from({ length: 9 }, () => before).join(', ')}]`;
    });
    expect(lintValues(lines.join('\n'), 'v.yaml')).toMatchObject([{ rule: 'yaml', level: 'error' }]);
  });

  it('never throws, and places every finding inside the file', () => {
    const key = fc.constantFrom(
      'hue',
      'ociRegistry',
      'endpoint',
      'spokes',
      'fleetConfig',
      'zot',
      'x',
      '- ',
      '*a',
    );
    const line = fc.tuple(fc.nat(6), key, fc.constantFrom(':', ': ', '', ': [', ': {}', ': &a b', ': "'));
    fc.assert(
      fc.property(fc.array(line), (parts) => {
        const text = parts.map(([indent, word, end]) => `${' '.repeat(indent)}${word}${end}`).join('\n');
        for (const finding of lintValues(text, 'v.yaml')) {
          expect(finding.line).toBeGreaterThan(0);
          expect(finding.line).toBeLessThanOrEqual(parts.length + 1);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('parseValues', () => {
  it('fills in the defaults', () => {
    const { values, findings } = parseValues('fleetConfig: { spokes: [{ name: a, labels: { x: y } }] }', 'v');
    expect(findings).toEqual([]);
    expect(values.fleetConfig.spokes).toEqual([{ name: 'a', labels: { x: 'y' } }]);
    expect(values.hue.ociRegistry).toEqual({
      enabled: true,
      insecure: false,
      interval: '5m',
      provider: 'generic',
      repository: 'workloads',
      timeout: '60s',
    });
    expect(values.zot.enabled).toBe(true);
  });

  it('takes null as absent, as Helm does', () => {
    const { values, findings } = parseValues(hub('basicAuth: null\ninterval: ~'), 'v');
    expect(findings).toMatchObject([{ rule: 'null', level: 'warning', line: 4 }]);
    expect(values.hue.ociRegistry).not.toHaveProperty('basicAuth');
    expect(values.hue.ociRegistry.interval).toBe('5m');
  });

  it('reads the values of a complete file', () => {
    const { values } = parseValues(ECR, 'v');
    expect(values.hue.ociRegistry.provider).toBe('aws');
    expect(values.hue.serviceAccount.annotations['eks.amazonaws.com/role-arn']).toMatch(/^arn:aws:iam::/);
    expect(values.fleetConfig.spokes[0]?.ociRegistry?.repository).toBe('mural-workloads');
    expect(values.zot.enabled).toBe(false);
  });

  it('gives the defaults when the file is wrong', () => {
    const { values, findings } = parseValues(hub('interval: often'), 'v');
    expect(findings).toHaveLength(1);
    expect(values).toEqual(defaultValues());
  });
});
