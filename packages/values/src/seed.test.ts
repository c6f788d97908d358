import { describe, expect, it } from 'vitest';
import { fixValues, hasErrors, lintValues, parseValues } from './index.ts';
import { fill, SNIPPETS, wholeFile } from './testing/seed.ts';

const names = Object.keys(SNIPPETS) as (keyof typeof SNIPPETS)[];
const withPlaceholders = names.filter((name) => SNIPPETS[name].includes('<'));

function rules(text: string): string[] {
  return lintValues(text, 'values.yaml').map(({ level, rule }) => `${level} ${rule}`);
}

describe('the values of the guide for ECR', () => {
  it.each(withPlaceholders)(
    '%s: refuses each line with a placeholder, and says nothing else of it',
    (name) => {
      const text: string = SNIPPETS[name];
      const lines = text.split('\n').flatMap((line, index) => (line.includes('<') ? [index + 1] : []));
      const findings = lintValues(text, 'values.yaml').filter(({ level }) => level === 'error');
      expect(findings.map(({ line, rule }) => [line, rule])).toEqual(
        lines.map((line) => [line, 'placeholder']),
      );
    },
  );

  it('names the placeholders of a line, and where the value is that holds them', () => {
    const [finding] = lintValues(SNIPPETS.huePrivate, 'values.yaml');
    expect(finding).toMatchObject({ line: 4, column: 15 });
    expect(finding?.message).toContain(
      'hue.ociRegistry.endpoint still holds <account-id>, <region>, <ecr-namespace>',
    );
  });

  it.each(withPlaceholders)('%s: is accepted once its placeholders are filled', (name) => {
    const findings = lintValues(fill(SNIPPETS[name]), 'values.yaml');
    expect(findings.filter(({ level }) => level === 'error')).toEqual([]);
  });

  it('finds nothing to say of the whole file for a private registry', () => {
    const { values, findings } = parseValues(wholeFile('private'), 'values.yaml');
    expect(findings).toEqual([]);
    expect(values.zot.enabled).toBe(false);
    expect(values.hue.ociRegistry).toEqual({
      enabled: true,
      endpoint: 'oci://123456789012.dkr.ecr.eu-west-1.amazonaws.com/team',
      repository: 'mural-workloads',
      insecure: false,
      interval: '5m',
      timeout: '60s',
      provider: 'aws',
    });
  });

  it('warns once that a public registry is public', () => {
    expect(rules(wholeFile('public'))).toEqual(['warning ecr-public']);
  });

  it('finds the trap of the guide: hue writes another repository than the spokes read', () => {
    const text = fill(SNIPPETS.huePrivate, { '<ecr-repo-name>': 'workloads' }) + fill(SNIPPETS.spokesPrivate);
    const findings = lintValues(text, 'values.yaml');
    expect(findings).toMatchObject([{ rule: 'spoke-registry', level: 'error', line: 15, column: 21 }]);
    expect(findings[0]?.message).toContain(
      'spoke-1 reads the repository mural-workloads, and hue writes workloads',
    );
  });

  it('takes basicAuth out beside the provider aws, and nothing else', () => {
    const section = fill(SNIPPETS.hueBasicAuth).replace('hue:\n  ociRegistry:\n', '');
    const hub = fill(SNIPPETS.huePrivate);
    const spokes = fill(SNIPPETS.spokesPrivate);
    const spokeSection = fill(SNIPPETS.spokesBasicAuth).split('ociRegistry:\n')[1] ?? '';
    const text = `# the hub\n${hub}${section}${spokes}${spokeSection}`;
    expect(rules(text)).toEqual(['error basic-auth-provider', 'error basic-auth-provider']);
    const { text: mended, fixed, findings } = fixValues(text, 'values.yaml');
    expect(mended).toBe(`# the hub\n${hub}${spokes}`);
    expect(fixed).toHaveLength(2);
    expect(findings).toEqual([]);
    expect(JSON.stringify([fixed, lintValues(text, 'v')])).not.toContain('hunter2');
  });

  it('refuses to stop the embedded registry while hue has no other', () => {
    expect(rules(SNIPPETS.zot)).toEqual(['error no-registry']);
    expect(rules(`${SNIPPETS.zot}fleetConfig:\n  spokes:\n    - name: spoke-1\n`)).toEqual([
      'error no-registry',
      'error no-registry',
    ]);
    expect(
      rules(SNIPPETS.zot + fill(SNIPPETS.huePrivate).replace('enabled: true', 'enabled: false')),
    ).toEqual(['error no-registry']);
    expect(hasErrors(lintValues(SNIPPETS.zot + fill(SNIPPETS.huePrivate), 'v'))).toBe(false);
  });
});
