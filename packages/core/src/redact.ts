/** A URL without what may be secret in it: user information, query and fragment. */
export function redactUrl(url: string | URL): string {
  if (!URL.canParse(String(url))) return '<invalid URL>';
  const parsed = new URL(url);
  return `${parsed.protocol}//${parsed.host}${parsed.pathname}`;
}
