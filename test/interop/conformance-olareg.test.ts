import { describe, expect, it } from 'vitest';
import { failuresOf } from '../conformance/outcomes.ts';

/** What olareg 0.2.2 does otherwise, and how. */
const EXPECTED: Readonly<Record<string, string>> = {
  'RFC 9110, 15.5.6: a method that a blob does not have is 405 with Allow': '404 instead of 405.',
  'end-2: Range bytes=-0 is 416, with the size': '206 with no bytes, as the HTTP library of Go has it.',
  'RFC 9110, 14.2: a range of another unit is ignored': '416, as the HTTP library of Go has it.',
  'RFC 9110, 14.2: a HEAD has no range': '206, as the HTTP library of Go has it.',
  'RFC 9110, 8.8.3: a blob has a strong entity tag': '200: there are no entity tags.',
  'RFC 9110, 8.8.3: a manifest has a strong entity tag': '200: there are no entity tags.',
  'RFC 9110, 13.1.2: If-None-Match "tag" of a blob is 304': '200: there are no entity tags.',
  'RFC 9110, 13.1.2: If-None-Match "other", "tag" of a blob is 304': '200: there are no entity tags.',
  'RFC 9110, 13.1.2: If-None-Match W/"tag" of a blob is 304': '200: there are no entity tags.',
  'RFC 9110, 13.1.2: If-None-Match "tag" of a manifest is 304': '200: there are no entity tags.',
  'RFC 9110, 13.1.2: If-None-Match "other", "tag" of a manifest is 304': '200: there are no entity tags.',
  'RFC 9110, 13.1.2: If-None-Match W/"tag" of a manifest is 304': '200: there are no entity tags.',
  'Error Codes: bytes of another digest are DIGEST_INVALID': '400 with another code.',
  'end-5: a Content-Range that is longer than the body is refused': '202: the length is not compared.',
  'image-spec, descriptors: a size that is not that of the blob is refused': '201: sizes are not compared.',
  'image-spec, CVE-2021-41190: a manifest that is an index as well is refused': '201.',
  'image-spec, CVE-2021-41190: a mediaType that is not the Content-Type is refused': '201.',
  'Pulling manifests: the name blobs/list is one': '400: blobs is reserved for its folders.',
  'Pulling manifests: the name a//b is none': '202: empty parts of a path are dropped.',
  'Pulling manifests: the name a/ is none': '202: empty parts of a path are dropped.',
  'Pulling manifests: the name /a is none': '202: empty parts of a path are dropped.',
  'RFC 3986, 2.2: an encoded slash does not divide a name': '202: it is decoded before the path is divided.',
  'end-8b: tags of n=0 are the right ones': 'The connection is cut: the request ends in a panic.',
  'end-8b: n=-1 is bounded or refused, never 5xx': 'The connection is cut: the request ends in a panic.',
  'end-12a: the malformed digest sha256:abc is 400': '200 with an empty list.',
  'end-12a: the malformed digest latest is 400': '200 with an empty list.',
  'end-12a: the malformed digest sha256:zzzzz is 400': '200 with an empty list.',
  'Enabling the Referrers API: what an index under the fallback tag lists is a referrer':
    'A later referrer replaces what the pushed index lists.',
};

describe('the cases on olareg', () => {
  it('find what is known to be otherwise there, and nothing else', async () => {
    const failures = await failuresOf('olareg');
    expect([...failures.keys()].sort(), [...failures.values()].join('\n')).toEqual(
      Object.keys(EXPECTED).sort(),
    );
  });
});
