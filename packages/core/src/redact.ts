/** A URL without what may be secret in it: user information, query and fragment. */
export function redactUrl(url: string | URL): string {
  if (!URL.canParse(String(url))) return '<invalid URL>';
  const parsed = new URL(url);
  return `${parsed.protocol}//${parsed.host}${parsed.pathname}`;
}

/** A URL or reference as somebody wrote it, valid or not, without a user and password before its host. */
export function maskUserInfo(text: string): string {
  return text.replace(/^([a-z][a-z0-9+.-]*:\/\/)?[^/]*@/i, '$1***@');
}
