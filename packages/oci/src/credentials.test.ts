import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseChallenges } from './challenge.ts';
import { credentialsFromDockerConfig, dockerConfig } from './index.ts';

const auth = (text: string): string => Buffer.from(text).toString('base64');

describe('credentialsFromDockerConfig', () => {
  it.each([
    ['username and password', { 'r.example': { username: 'u', password: 'p' } }],
    ['auth', { 'r.example': { auth: auth('u:p') } }],
    ["docker's old form of the key", { 'https://r.example/v1/': { auth: auth('u:p') } }],
    ['another case', { 'R.Example': { auth: auth('u:p') } }],
  ])('reads %s', (_name, auths) => {
    expect(credentialsFromDockerConfig(JSON.stringify({ auths }), 'r.example')).toEqual({
      username: 'u',
      password: 'p',
    });
  });

  it('keeps colons in the password', () => {
    const json = JSON.stringify({ auths: { h: { auth: auth('u:a:b:') } } });
    expect(credentialsFromDockerConfig(json, 'h')?.password).toBe('a:b:');
  });

  it.each([
    ['a host that only ends alike', { 'evil-r.example': { auth: auth('u:p') } }],
    ['a host that only starts alike', { 'r.example.evil': { auth: auth('u:p') } }],
    ['another port', { 'r.example:444': { auth: auth('u:p') } }],
    ['a path that looks like the host', { 'evil/r.example': { auth: auth('u:p') } }],
    ['an empty entry', { 'r.example': {} }],
    ['auth without a colon', { 'r.example': { auth: auth('u') } }],
  ])('gives nothing for %s', (_name, auths) => {
    expect(credentialsFromDockerConfig(JSON.stringify({ auths }), 'r.example')).toBeUndefined();
  });

  it('reads what dockerConfig writes, and holds its peace on anything else', () => {
    const credential = { username: 'spoke-a', password: 'pässword:1' };
    expect(credentialsFromDockerConfig(dockerConfig('h:5000', credential), 'h:5000')).toEqual(credential);
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        credentialsFromDockerConfig(text, 'h:5000');
      }),
    );
  });
});

describe('parseChallenges', () => {
  it('reads several challenges, quoted and plain parameters', () => {
    expect(
      parseChallenges(
        'Basic realm="a, \\"b\\"", Bearer realm="https://t/x?a=b",service=s, scope="repository:a:pull,push"',
      ),
    ).toEqual([
      { scheme: 'basic', parameters: { realm: 'a, "b"' } },
      {
        scheme: 'bearer',
        parameters: { realm: 'https://t/x?a=b', service: 's', scope: 'repository:a:pull,push' },
      },
    ]);
    expect(parseChallenges(['Negotiate', 'BASIC Realm=x'])).toEqual([
      { scheme: 'negotiate', parameters: {} },
      { scheme: 'basic', parameters: { realm: 'x' } },
    ]);
  });

  it('ends on any text', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('a', '=', '"', ',', ' ', '\\', 'Bearer '), maxLength: 60 }),
        (text) => {
          expect(parseChallenges(text).length).toBeLessThanOrEqual(text.length);
        },
      ),
    );
  });
});
