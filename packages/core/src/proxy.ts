import { BlockList, isIP, isIPv4 } from 'node:net';
import { MuralError } from './errors.ts';

/** Variables of a process, as `process.env`. */
export type ProcessEnvironment = Readonly<Record<string, string | undefined>>;

/** A proxy variable that cannot be read. Its message never holds what the variable holds. */
export class ProxyError extends MuralError<'ProxyInvalid'> {}

/**
 * The proxy that a URL is to be fetched through, by the rules of Go's `golang.org/x/net/http/httpproxy`,
 * which Docker, Flux and kubectl follow: `HTTPS_PROXY` for https, `HTTP_PROXY` for http (upper case
 * first, then lower), unless the host is `localhost`, a loopback address or in `NO_PROXY`.
 *
 * @returns `undefined` when the URL is to be fetched directly
 * @throws ProxyError when the variable that counts holds no http or https URL
 */
export function proxyFor(url: URL, environment: ProcessEnvironment): URL | undefined {
  const names = VARIABLES[url.protocol];
  if (names === undefined) return undefined;
  const name = names.find((one) => (environment[one] ?? '') !== '');
  const value = name === undefined ? undefined : environment[name];
  if (name === undefined || value === undefined) return undefined;
  const noProxy = environment['NO_PROXY'] || environment['no_proxy'] || '';
  if (!usesProxy(url, noProxy)) return undefined;
  return parseProxy(name, value);
}

const VARIABLES: Readonly<Record<string, readonly string[]>> = {
  'https:': ['HTTPS_PROXY', 'https_proxy'],
  'http:': ['HTTP_PROXY', 'http_proxy'],
};
const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'https:': '443', 'http:': '80' };

function parseProxy(name: string, value: string): URL {
  const text = value.trim();
  const full = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  const url = URL.canParse(full) ? new URL(full) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol) || url.hostname === '') {
    throw new ProxyError('ProxyInvalid', `${name} does not hold the URL of a proxy`, {
      hint: 'Write http://HOST:PORT or https://HOST:PORT.',
      facts: { variable: name },
    });
  }
  return url;
}

function usesProxy(url: URL, noProxy: string): boolean {
  const host = bare(url.hostname);
  if (isLoopbackHost(host)) return false;
  const port = url.port === '' ? (DEFAULT_PORTS[url.protocol] ?? '') : url.port;
  return !noProxy.split(',').some((entry) => excludes(entry.trim().toLowerCase(), host, port));
}

/** Whether an entry of `NO_PROXY` takes in a host: `*`, an address, a network, a domain; all but networks with a port or without. */
function excludes(entry: string, host: string, port: string): boolean {
  if (entry === '') return false;
  if (entry === '*') return true;
  if (entry.includes('/')) return inNetwork(entry, host);
  const { name, wanted } = splitPort(entry);
  if (name === '' || (wanted !== undefined && wanted !== port)) return false;
  if (isIP(name) !== 0) return sameAddress(name, host);
  if (name.startsWith('*.') || name.startsWith('.')) {
    return isIP(host) === 0 && host.endsWith(name.startsWith('*') ? name.slice(1) : name);
  }
  return host === name || (isIP(host) === 0 && host.endsWith(`.${name}`));
}

function splitPort(entry: string): { readonly name: string; readonly wanted: string | undefined } {
  if (isIP(entry) !== 0) return { name: entry, wanted: undefined };
  const match = /^(.*?)(?::(\d{1,5}))?$/.exec(entry);
  return { name: bare(match?.[1] ?? ''), wanted: match?.[2] };
}

function inNetwork(entry: string, host: string): boolean {
  const slash = entry.indexOf('/');
  const address = entry.slice(0, slash);
  const bits = entry.slice(slash + 1);
  const family = isIP(address);
  if (family === 0 || isIP(host) === 0 || !/^\d{1,3}$/.test(bits)) return false;
  if (Number(bits) > (family === 4 ? 32 : 128)) return false;
  const list = new BlockList();
  list.addSubnet(address, Number(bits), familyOf(address));
  return list.check(host, familyOf(host));
}

function sameAddress(address: string, host: string): boolean {
  if (isIP(host) === 0) return false;
  const list = new BlockList();
  list.addAddress(address, familyOf(address));
  return list.check(host, familyOf(host));
}

/** Whether a host name of a URL, or an address, is of this machine alone. A name counts only as `localhost`. */
export function isLoopbackHost(hostname: string): boolean {
  const host = bare(hostname);
  return host === 'localhost' || inNetwork('127.0.0.0/8', host) || sameAddress('::1', host);
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIPv4(address) ? 'ipv4' : 'ipv6';
}

/** A host without the brackets of an IPv6 address and the dot of the DNS root. */
function bare(hostname: string): string {
  return hostname
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/\.$/, '')
    .toLowerCase();
}
