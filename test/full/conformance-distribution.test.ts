import { describe, expect, it } from 'vitest';
import { failuresOf } from '../conformance/outcomes.ts';

/** What distribution 3.1.2 does otherwise, and how. */
const EXPECTED: Readonly<Record<string, string>> = {
  'Digest: a blob that was pushed as sha512 is read by it':
    'The blob is kept under its sha256 digest, and answered with that.',
  'end-4c: an upload that is announced as sha512 becomes such a blob':
    'The blob is kept under its sha256 digest, and answered with that.',
  'end-11: a sha512 blob is mounted, or an upload begins': '500.',
  'Digest: a manifest is pushed and read by its sha512 digest': '400.',
  'end-4c: an algorithm that nobody knows is 400': '202: the parameter is not read.',
  'end-2: Range bytes=-0 is 416, with the size': '206 with no bytes, as the HTTP library of Go has it.',
  'RFC 9110, 14.2: a range of another unit is ignored': '416, as the HTTP library of Go has it.',
  'RFC 9110, 14.2: a HEAD has no range': '206, as the HTTP library of Go has it.',
  'RFC 9110, 13.1.2: If-None-Match "other", "tag" of a manifest is 304':
    '200: the header is compared as a whole.',
  'RFC 9110, 13.1.2: If-None-Match W/"tag" of a manifest is 304': '200: the header is compared as a whole.',
  'RFC 9110, 13.1.2: If-None-Match * of a manifest is 304': '200: the header is compared as a whole.',
  'end-5: a Content-Range that cannot be read is refused': '202.',
  'image-spec, layers: layers of application/vnd.oci.image.layer.nondistributable.v1.tar+gzip need not be there':
    '500: URLs of layers are not allowed unless configured.',
  'image-spec, layers: layers of application/vnd.docker.image.rootfs.foreign.diff.tar.gzip need not be there':
    '400: URLs of layers are not allowed unless configured.',
  'end-7a: a manifest that is far too large is 413, and not kept': '400 instead of 413.',
  'end-7a: a manifest that is pushed by digest has no tag': '404 for the tags of a repository without tags.',
  'image-spec, descriptors: a size that is not that of the blob is refused': '201: sizes are not compared.',
  'RFC 3986, 2.2: an encoded slash does not divide a name': '202: it is decoded before the path is divided.',
  'end-7b: a push by digest sets ten tags and names them': 'The parameter is not read.',
  'Pushing Manifests with Subject: OCI-Subject says that the subject was seen':
    'There is no OCI-Subject, because there is no referrers endpoint.',
  'end-12a: a manifest without referrers has an empty list': '404: there is no referrers endpoint.',
  'end-12a: a repository that is not there has an empty list': '404: there is no referrers endpoint.',
  'end-12a: the malformed digest sha256:abc is 400': '404: there is no referrers endpoint.',
  'end-12a: the malformed digest latest is 400': '404: there is no referrers endpoint.',
  'end-12a: the malformed digest sha256:zzzzz is 400': '404: there is no referrers endpoint.',
  'end-12a: a referrer is listed with its type, size, artifact type and annotations':
    '404: there is no referrers endpoint.',
  'Push: a subject may come later, or never': '404: there is no referrers endpoint.',
  'end-12a: artifactType undefined of an image becomes that of its config':
    '404: there is no referrers endpoint.',
  'end-12a: artifactType  of an image becomes that of its config': '404: there is no referrers endpoint.',
  'end-12a: an index with artifactType undefined is a referrer': '404: there is no referrers endpoint.',
  'end-12a: an index with artifactType application/vnd.example.sbom is a referrer':
    '404: there is no referrers endpoint.',
  'Digest: a subject may have a sha512 digest': '404: there is no referrers endpoint.',
  'end-12a: a referrer that is pushed twice, or tagged, is listed once':
    '404: there is no referrers endpoint.',
  'end-12a: a deleted referrer is not listed, the others are': '404: there is no referrers endpoint.',
  'end-12a: referrers are those of one repository': '404: there is no referrers endpoint.',
  'end-12b: artifactType filters, and the answer says so': '404: there is no referrers endpoint.',
  'end-12b: artifactType filters by the type of the config too': '404: there is no referrers endpoint.',
  'end-12a: a list that one manifest cannot hold has pages, and Link leads through them':
    '404: there is no referrers endpoint.',
  'Enabling the Referrers API: what an index under the fallback tag lists is a referrer':
    '404: there is no referrers endpoint.',
  'end-12a: a fallback tag makes no referrer of what has no such subject':
    '404: there is no referrers endpoint.',
};

describe('the cases on distribution', () => {
  it('find what is known to be otherwise there, and nothing else', async () => {
    const failures = await failuresOf('distribution');
    expect([...failures.keys()].sort(), [...failures.values()].join('\n')).toEqual(
      Object.keys(EXPECTED).sort(),
    );
  });
});
