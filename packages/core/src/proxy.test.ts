import { describe, expect, it } from 'vitest';
import { isLoopbackHost, type ProxyError, proxyFor } from './proxy.ts';

const PROXY = { HTTPS_PROXY: 'http://proxy.example:3128' };

function proxied(url: string, noProxy: string): boolean {
  return proxyFor(new URL(url), { ...PROXY, NO_PROXY: noProxy }) !== undefined;
}

describe('proxyFor', () => {
  it('takes the variable of the scheme, upper case first', () => {
    const environment = {
      HTTPS_PROXY: 'http://secure.example:1',
      https_proxy: 'http://other.example:2',
      http_proxy: 'http://plain.example:3',
    };
    expect(proxyFor(new URL('https://registry.example'), environment)?.host).toBe('secure.example:1');
    expect(proxyFor(new URL('http://registry.example'), environment)?.host).toBe('plain.example:3');
    expect(proxyFor(new URL('https://registry.example'), { HTTP_PROXY: 'http://p' })).toBeUndefined();
    expect(proxyFor(new URL('https://registry.example'), {})).toBeUndefined();
    expect(proxyFor(new URL('https://registry.example'), { HTTPS_PROXY: '' })).toBeUndefined();
  });

  it('takes a proxy without a scheme for http, and keeps its user', () => {
    const proxy = proxyFor(new URL('https://x.example'), { HTTPS_PROXY: 'user:pass@proxy.example:8080' });
    expect(proxy?.href).toBe('http://user:pass@proxy.example:8080/');
  });

  it('says which variable is wrong without what is in it', () => {
    const get = (): unknown => proxyFor(new URL('https://x.example'), { HTTPS_PROXY: 'ftp://me:secret@p' });
    expect(get).toThrow('HTTPS_PROXY does not hold the URL of a proxy');
    try {
      get();
    } catch (error) {
      expect(`${String(error)} ${JSON.stringify((error as ProxyError).facts)}`).not.toContain('secret');
    }
  });

  it.each(['https://localhost', 'https://127.0.0.1', 'https://127.8.9.1:5000', 'https://[::1]:5000'])(
    'never proxies %s',
    (url) => {
      expect(proxied(url, '')).toBe(false);
    },
  );

  it.each([
    ['https://a.example', '*'],
    ['https://a.example', 'b.example, a.example'],
    ['https://A.Example', 'a.example'],
    ['https://x.a.example', 'a.example'],
    ['https://x.a.example', '.a.example'],
    ['https://x.a.example', '*.a.example'],
    ['https://a.example', 'a.example:443'],
    ['https://a.example:8443', 'a.example:8443'],
    ['https://10.1.2.3', '10.0.0.0/8'],
    ['https://10.1.2.3', '10.1.2.3'],
    ['https://10.1.2.3:5000', '10.1.2.3:5000'],
    ['https://[fd00::1]', 'fd00::/8'],
    ['https://[fd00::1]', 'fd00:0::1'],
    ['https://[fd00::1]:5000', '[fd00::1]:5000'],
  ])('fetches %s directly with NO_PROXY %s', (url, noProxy) => {
    expect(proxied(url, noProxy)).toBe(false);
  });

  it.each([
    ['https://a.example', ''],
    ['https://a.example', '.a.example'],
    ['https://a.example', '*.a.example'],
    ['https://nota.example', 'a.example'],
    ['https://a.example.evil.example', 'a.example'],
    ['https://a.example', 'a.example:8443'],
    ['https://11.1.2.3', '10.0.0.0/8'],
    ['https://10.1.2.3', '10.0.0.0/40'],
    ['https://10.1.2.3', 'x/8'],
    ['https://10.1.2.3', '2.3'],
    ['https://a.example', ',,'],
    ['https://localhost.evil.example', ''],
  ])('proxies %s with NO_PROXY %s', (url, noProxy) => {
    expect(proxied(url, noProxy)).toBe(true);
  });

  it('reads no_proxy in lower case', () => {
    expect(proxyFor(new URL('https://a.example'), { ...PROXY, no_proxy: 'a.example' })).toBeUndefined();
  });
});

describe('isLoopbackHost', () => {
  it.each(['localhost', 'LOCALHOST', '127.0.0.1', '127.9.9.9', '::1', '[::1]'])('knows %s', (host) => {
    expect(isLoopbackHost(host)).toBe(true);
  });

  it.each([
    '127.0.0.1.evil.example',
    '127.anything.example',
    'localhost.evil.example',
    '128.0.0.1',
    '0.0.0.0',
    '[::2]',
    '',
  ])('is not taken in by %s', (host) => {
    expect(isLoopbackHost(host)).toBe(false);
  });
});
