import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { requestInfo } from '../http/request.ts';
import { ApiError } from '../status.ts';
import { parseJsonPath } from '../tables/json-path.ts';
import { compareVersions } from './custom.ts';
import { labelMatcher } from './labels.ts';
import { labelValue, qualifiedName, subdomainName } from './names.ts';

describe('label selectors', () => {
  const labels = { app: 'web', tier: 'a', size: '5', 'example.com/x': '' };
  it.each([
    ['', true],
    ['app=web', true],
    ['app == web , tier=a', true],
    ['app!=web', false],
    ['other!=web', true],
    ['app in (web, db)', true],
    ['app notin (web)', false],
    ['other notin (web)', true],
    ['example.com/x', true],
    ['example.com/x=', true],
    ['!app', false],
    ['! other', true],
    ['size>4', true],
    ['size<5', false],
  ])('%s: %s', (selector, met) => {
    expect(labelMatcher(selector)(labels)).toBe(met);
  });

  it('are read or refused, whatever is sent', () => {
    fc.assert(
      fc.property(fc.string(), (selector) => {
        try {
          labelMatcher(selector)(labels);
        } catch (error) {
          expect(error).toBeInstanceOf(ApiError);
        }
      }),
    );
  });

  it('never take what every object inherits for a label', () => {
    expect(labelMatcher('constructor')({})).toBe(false);
  });
});

describe('paths', () => {
  it.each([
    ['GET', '/api/v1/namespaces/ns/pods/p/log', 'get', 'pods', 'log', 'ns', 'p'],
    ['GET', '/api/v1/pods', 'list', 'pods', '', '', ''],
    ['GET', '/api/v1/pods?watch=1', 'watch', 'pods', '', '', ''],
    ['GET', '/api/v1/namespaces', 'list', 'namespaces', '', '', ''],
    ['PUT', '/api/v1/namespaces/ns/finalize', 'update', 'namespaces', 'finalize', 'ns', 'ns'],
    ['DELETE', '/apis/apps/v1/namespaces/ns/deployments', 'deletecollection', 'deployments', '', 'ns', ''],
    ['PATCH', '/apis/example.com/v1/widgets/w/status', 'patch', 'widgets', 'status', '', 'w'],
  ])('%s %s', (method, url, ...place) => {
    const { pathname, searchParams } = new URL(url, 'https://server');
    const info = requestInfo(method, pathname, searchParams);
    const [verb, plural, subresource, namespace, name] = place;
    expect(info).toMatchObject({ isResource: true, verb, plural, subresource, namespace, name });
  });

  it('are read or refused, whatever is sent', () => {
    fc.assert(
      fc.property(fc.webPath(), (path) => {
        expect(requestInfo('GET', path, new URLSearchParams())).toBeDefined();
      }),
    );
    expect(() => requestInfo('GET', '/api/v1/%ff', new URLSearchParams())).toThrow('not well encoded');
  });
});

describe('JSON paths', () => {
  it('are read or refused, whatever is written', () => {
    fc.assert(
      fc.property(fc.string(), fc.jsonValue(), (path, value) => {
        parseJsonPath(path)?.(value);
      }),
    );
  });
});

describe('names', () => {
  it.each([
    [subdomainName, 'a.b-c.1', true],
    [subdomainName, 'a..b', false],
    [subdomainName, 'a'.repeat(254), false],
    [labelValue, '', true],
    [labelValue, 'a b', false],
    [labelValue, 'a'.repeat(64), false],
    [qualifiedName, 'example.com/Name_1', true],
    [qualifiedName, 'a/b/c', false],
    [qualifiedName, '/b', false],
  ])('%o %s: %s', (rule, name, good) => {
    expect(rule(name).length === 0).toBe(good);
  });
});

describe('versions', () => {
  it('are preferred in the order of Kubernetes', () => {
    const versions = ['foo1', 'v1alpha1', 'v2', 'v1', 'v10', 'v1beta2', 'v1beta1', 'bar'];
    expect(versions.sort(compareVersions)).toEqual([
      'v10',
      'v2',
      'v1',
      'v1beta2',
      'v1beta1',
      'v1alpha1',
      'bar',
      'foo1',
    ]);
  });
});
