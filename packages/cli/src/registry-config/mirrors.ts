import { parseDuration, systemClock } from '@mural/core';
import {
  cloudCredentials,
  type Credential,
  type CredentialProvider,
  credentialsFromDockerConfig,
  OciError,
} from '@mural/oci';
import { checkMirrors, type MirrorOptions } from '@mural/registry';
import { z } from 'zod';
import { checked, type Report } from './checked.ts';
import type { Path } from './document.ts';
import { Pause, Text } from './fields.ts';

/** One of three: a name with the file of its password, a docker configuration, or the identity in a cloud. */
const Credentials = z.strictObject({
  username: Text.optional(),
  passwordFile: Text.optional(),
  dockerConfigFile: Text.optional(),
  provider: z.enum(['aws', 'azure', 'gcp']).optional(),
  roleArn: Text.optional(),
});

const Mirror = z.strictObject({
  repositories: Text.optional(),
  prefix: Text.optional(),
  upstream: Text,
  credentials: Credentials.optional(),
  tokenServers: z.array(Text).optional(),
  caFile: Text.optional(),
  tagTtl: Pause.optional(),
  negativeTtl: Pause.optional(),
  stale: Pause.optional(),
  evictAfter: Pause.optional(),
  timeout: Pause.optional(),
  concurrency: z.int().optional(),
});

/** Registries whose repositories are had on demand. The rest of a mirror is the registry's to check. */
export const MirrorsSection = z.array(Mirror);

/** The section as it stands in a configuration. */
export type MirrorsSection = z.infer<typeof MirrorsSection>;

/** How the files that a mirror names are read. */
export interface MirrorFiles {
  /** The content of a file, as at the start of the registry; undefined when that was reported as a mistake. */
  readonly read: (file: string | undefined, path: Path) => Promise<string | undefined>;
  /** The same later, when it may have changed. @throws what the file system throws */
  readonly again: (file: string) => Promise<string>;
  /** Takes what is wrong, and where it stands. */
  readonly report: Report;
}

/** How long what a file holds is used before the file is read again, in milliseconds. */
const READ_EVERY = 60_000;

/** What a section comes to. */
export async function mirrorsOf(
  section: MirrorsSection | undefined,
  files: MirrorFiles,
): Promise<MirrorOptions[]> {
  const mirrors: MirrorOptions[] = [];
  for (const [index, given] of (section ?? []).entries()) {
    const path: Path = ['mirrors', index];
    const { tokenServers, caFile, concurrency, repositories, prefix, upstream } = given;
    const ca = await files.read(caFile, [...path, 'caFile']);
    const credentials = await credentialsOf(given, [...path, 'credentials'], files);
    const mirror: MirrorOptions = {
      upstream,
      ...(repositories === undefined ? {} : { repositories }),
      ...(prefix === undefined ? {} : { prefix }),
      ...(tokenServers === undefined ? {} : { tokenServers }),
      ...(concurrency === undefined ? {} : { concurrency }),
      ...(ca === undefined ? {} : { ca }),
      ...(credentials === undefined ? {} : { credentials }),
      ...timesOf(given),
    };
    mirrors.push(mirror);
  }
  checked([], files.report, () => checkMirrors(mirrors));
  return mirrors;
}

function timesOf(given: MirrorsSection[number]): Partial<MirrorOptions> {
  const names = ['tagTtl', 'negativeTtl', 'stale', 'evictAfter', 'timeout'] as const;
  const told = names.flatMap((name) => {
    const text = given[name];
    return text === undefined ? [] : [[`${name}Ms`, parseDuration(text)] as const];
  });
  return Object.fromEntries(told);
}

async function credentialsOf(
  { credentials, upstream }: MirrorsSection[number],
  path: Path,
  files: MirrorFiles,
): Promise<CredentialProvider | undefined> {
  if (credentials === undefined) return undefined;
  const { username, passwordFile, dockerConfigFile, provider, roleArn } = credentials;
  const ways = [username ?? passwordFile, dockerConfigFile, provider].filter((one) => one !== undefined);
  const host = URL.canParse(upstream) ? new URL(upstream).host : '';
  if (ways.length !== 1) {
    files.report(path, 'needs one of username with passwordFile, dockerConfigFile, or provider');
    return undefined;
  }
  if (roleArn !== undefined && provider !== 'aws')
    files.report([...path, 'roleArn'], 'is for the provider aws');
  if (provider !== undefined) return cloud({ provider, host, roleArn }, path, files);
  if (dockerConfigFile !== undefined) {
    const at: Path = [...path, 'dockerConfigFile'];
    const wrong = `${dockerConfigFile} has no credentials for ${host === '' ? 'the upstream' : host}`;
    const parse = (text: string): Credential | undefined => credentialsFromDockerConfig(text, host);
    return await fromFile({ file: dockerConfigFile, at, parse, wrong }, files);
  }
  if (username === undefined || passwordFile === undefined) {
    files.report(path, 'username and passwordFile go together');
    return undefined;
  }
  const at: Path = [...path, 'passwordFile'];
  const wrong = `${passwordFile} must hold one line with a password`;
  const parse = (text: string): Credential | undefined => passwordOf(username, text);
  return await fromFile({ file: passwordFile, at, parse, wrong }, files);
}

interface CredentialFile {
  readonly file: string;
  readonly at: Path;
  /** The credential in the file; undefined when there is none. */
  readonly parse: (text: string) => Credential | undefined;
  /** What is said when there is none. */
  readonly wrong: string;
}

async function fromFile(
  { file, at, parse, wrong }: CredentialFile,
  files: MirrorFiles,
): Promise<CredentialProvider | undefined> {
  const text = await files.read(file, at);
  if (text === undefined) return undefined;
  const found = parse(text);
  if (found !== undefined) return rereading(found, async () => parse(await files.again(file)));
  files.report(at, wrong);
  return undefined;
}

function cloud(
  {
    provider,
    host,
    roleArn,
  }: { provider: 'aws' | 'azure' | 'gcp'; host: string; roleArn: string | undefined },
  path: Path,
  { report }: MirrorFiles,
): CredentialProvider | undefined {
  try {
    return cloudCredentials({ provider, registry: host, ...(roleArn === undefined ? {} : { roleArn }) });
  } catch (error) {
    if (!(error instanceof OciError)) throw error;
    report(path, error.message.replace(/\.$/, ''));
    return undefined;
  }
}

function passwordOf(username: string, content: string): Credential | undefined {
  const password = content.replace(/\r?\n$/, '');
  return password === '' || /[\r\n]/.test(password) ? undefined : { username, password };
}

/** Takes up a changed file within a minute, or when what it held was refused; what cannot be read changes nothing. */
function rereading(first: Credential, read: () => Promise<Credential | undefined>): CredentialProvider {
  let known = first;
  let readAt = systemClock.now();
  return async ({ rejected } = {}) => {
    if (rejected === undefined && systemClock.now() - readAt < READ_EVERY) return known;
    readAt = systemClock.now();
    try {
      known = (await read()) ?? known;
    } catch {
      return known;
    }
    return known;
  };
}
