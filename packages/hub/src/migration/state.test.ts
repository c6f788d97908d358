import { describe, expect, it } from 'vitest';
import { parseMigration, registryPartHash, type RegistryValues, sideOf } from './state.ts';

const values = (hub: object, spokes: readonly object[] = []): RegistryValues =>
  ({ hue: { ociRegistry: { repository: 'w', ...hub } }, fleetConfig: { spokes } }) as RegistryValues;

describe('registryPartHash', () => {
  const external = { endpoint: 'oci://new.example/fleet' };

  it('tells registries apart, and nothing else', () => {
    const hash = registryPartHash(values(external));
    expect(registryPartHash(values({}))).not.toBe(hash);
    expect(registryPartHash(values({ ...external, repository: 'x' }))).not.toBe(hash);
    expect(registryPartHash(values({ ...external, provider: 'aws' }))).not.toBe(hash);
    expect(registryPartHash(values({ ...external, endpoint: 'oci://new.example/fleet/' }))).toBe(hash);
    expect(registryPartHash(values({ ...external, interval: '1m', enabled: true }))).toBe(hash);
    expect(registryPartHash(values({ ...external, enabled: false }))).toBe(registryPartHash(values({})));
  });

  it('does not change with another spoke on the same registry, and does with one on another', () => {
    const one = { name: 'a', ociRegistry: { ...external, repository: 'w' } };
    const hash = registryPartHash(values(external, [one]));
    expect(registryPartHash(values(external, [one, { ...one, name: 'b' }, { name: 'c' }]))).toBe(hash);
    const far = { name: 'b', ociRegistry: { endpoint: 'oci://far.example/x', repository: 'w' } };
    expect(registryPartHash(values(external, [one, far]))).not.toBe(hash);
  });

  it('cannot be used to guess a password', () => {
    const hash = (password: string) =>
      registryPartHash(values({ ...external, basicAuth: { username: 'hue', password } }));
    expect(hash('a')).toBe(hash('b'));
  });
});

describe('parseMigration and sideOf', () => {
  it('takes nothing for a state that is none', () => {
    for (const text of [undefined, '', '{', '{}', '[]', '{"version":2}'])
      expect(parseMigration(text)).toBeUndefined();
  });

  it('says which end a spoke reads while a migration is under way, and nothing else', () => {
    const text = (phase: string) =>
      JSON.stringify({
        ...{ version: 1, id: 'm', phase, switched: ['a'], assumed: [], behind: {}, waves: 1 },
        from: { url: 'oci://old.example/a', valuesHash: '1' },
        to: { url: 'oci://new.example/a', valuesHash: '2' },
        copied: { artifacts: 1, bytes: 1 },
        ...{ startedAt: '', updatedAt: '' },
      });
    for (const phase of ['SwitchingSpokes', 'CopyingBack', 'RevertingSpokes']) {
      expect(['a', 'b'].map((spoke) => sideOf(parseMigration(text(phase)), spoke))).toEqual(['to', 'from']);
    }
    for (const phase of ['Completed', 'RolledBack'])
      expect(sideOf(parseMigration(text(phase)), 'a')).toBeUndefined();
    expect(sideOf(undefined, 'a')).toBeUndefined();
  });
});
