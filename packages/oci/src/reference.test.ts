import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  formatReference,
  isDigest,
  isValidRepository,
  isValidTag,
  OciError,
  parseDigest,
  parseReference,
  parseRepositoryUrl,
} from './index.ts';

const HEX = 'a'.repeat(64);

describe('parseReference', () => {
  it.each([
    [
      '127.0.0.1:5000/mural/workloads:v1',
      { registry: '127.0.0.1:5000', repository: 'mural/workloads', tag: 'v1' },
    ],
    ['oci://ghcr.example/a', { registry: 'ghcr.example', repository: 'a' }],
    [
      `[::1]:5000/a/b__c@sha256:${HEX}`,
      { registry: '[::1]:5000', repository: 'a/b__c', digest: `sha256:${HEX}` },
    ],
    [
      `r.example/a:t@sha256:${HEX}`,
      { registry: 'r.example', repository: 'a', tag: 't', digest: `sha256:${HEX}` },
    ],
  ])('reads %s', (text, expected) => {
    expect(parseReference(text)).toEqual(expected);
  });

  it.each([
    '',
    'alpine',
    '/a/b',
    'host/',
    'host/A',
    'host/a//b',
    'host/a/../b',
    'host/a:',
    'host/a:-x',
    'host/a@sha256:xyz',
    `host/a@sha256:${'A'.repeat(64)}`,
    'host:0/a',
    'host:99999/a',
    'user@host/a',
    'ho_st/a',
    'host/a?x=1',
    'host/a b',
    'host/a\n',
    'https://host/a',
    'host/a:b:c',
    '-host/a',
  ])('refuses %j', (text) => {
    expect(() => parseReference(text)).toThrow(OciError);
  });

  it('reads back what formatReference writes', () => {
    const name = fc.stringMatching(/^[a-z0-9]{1,8}([._-][a-z0-9]{1,4})?(\/[a-z0-9]{1,8}){0,3}$/);
    const tag = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,20}$/);
    fc.assert(
      fc.property(name, fc.option(tag, { nil: undefined }), fc.boolean(), (repository, text, pinned) => {
        const reference = {
          registry: 'registry.example:5000',
          repository,
          ...(text === undefined ? {} : { tag: text }),
          ...(pinned ? { digest: `sha256:${HEX}` as const } : {}),
        };
        expect(parseReference(formatReference(reference))).toEqual(reference);
      }),
    );
  });

  it('never throws anything but an OciError, whatever it is given', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 80 }), (text) => {
        try {
          const { repository, tag } = parseReference(text);
          expect(isValidRepository(repository)).toBe(true);
          if (tag !== undefined) expect(isValidTag(tag)).toBe(true);
        } catch (error) {
          expect(error).toMatchObject({ code: 'ReferenceInvalid' });
        }
      }),
    );
  });
});

describe('parseRepositoryUrl', () => {
  it('reads the URL of an OCIRepository', () => {
    expect(parseRepositoryUrl('oci://r.example:5000/a/b')).toEqual({
      registry: 'r.example:5000',
      repository: 'a/b',
    });
  });

  it.each([
    'r.example/a',
    'https://r.example/a',
    'oci://r.example/a:tag',
    `oci://r.example/a@sha256:${HEX}`,
    'oci://',
  ])('refuses %s', (url) => {
    expect(() => parseRepositoryUrl(url)).toThrow(expect.objectContaining({ code: 'UrlInvalid' }) as Error);
  });

  it.each(['oci://user:hunter2@r.example/a', 'https://user:hunter2@r.example/a'])(
    'does not show the password of %s',
    (url) => {
      expect(() => parseRepositoryUrl(url)).toThrow(/^(?!.*hunter2).*\*\*\*@r\.example/);
    },
  );
});

describe('digests', () => {
  it.each([`sha256:${HEX}`, `sha512:${HEX}${HEX}`])('takes %s', (text) => {
    expect(isDigest(text)).toBe(true);
    expect(parseDigest(text).hex).toBe(text.slice(7));
  });

  it.each([
    HEX,
    `sha256:${HEX}0`,
    `md5:${HEX.slice(32)}`,
    `sha256:${HEX.toUpperCase()}`,
    `sha256:${HEX}\n`,
    'sha256:../x',
  ])('refuses %j', (text) => {
    expect(isDigest(text)).toBe(false);
    expect(() => parseDigest(text)).toThrow(expect.objectContaining({ code: 'DigestInvalid' }) as Error);
  });
});
