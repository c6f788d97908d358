import type { ServerResponse } from 'node:http';

/** What browsers are told of every answer, whatever it holds. */
const SECURITY_HEADERS = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; '),
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
};

/** Puts the security headers on an answer. */
export function secure(response: ServerResponse): void {
  for (const [name, value] of Object.entries(SECURITY_HEADERS)) response.setHeader(name, value);
}

/** A refusal, in the reasons of `metav1.Status`. */
export interface Refusal {
  readonly code: number;
  readonly reason: string;
  readonly message: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Answers a failure as the API does, with a `metav1.Status`. */
export function refuse(response: ServerResponse, refusal: Refusal): void {
  const { code, reason, message } = refusal;
  const status = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, code };
  const body = Buffer.from(`${JSON.stringify(status)}\n`);
  response.writeHead(code, {
    ...refusal.headers,
    'cache-control': 'no-store',
    'content-type': 'application/json',
    'content-length': body.byteLength,
  });
  response.end(body);
}
