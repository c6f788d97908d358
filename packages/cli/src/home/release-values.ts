import { isRecord } from '@mural/core';
import { CONFIG_MAPS, type KubeClient, type KubeObject, MURAL_NAMESPACE, SECRETS } from '@mural/kube';
import { parse } from 'yaml';
import { CliError } from '../errors.ts';
import type { HelmRelease, ValuesReference } from './helm-release.ts';
import { textOf, VALUES_KEY } from './values-store.ts';

/**
 * The values of a HelmRelease: those it refers to, each over the one before, and its own over all of
 * them; mappings are merged, anything else is replaced (Flux, helm-controller).
 *
 * @throws CliError `NotFound` for what is referred to and not there, `ValuesInvalid` for what is no
 *   YAML mapping, and for `targetPath`, which is not supported
 */
export async function releaseValues(
  client: KubeClient,
  release: HelmRelease,
): Promise<Record<string, unknown>> {
  let values: Record<string, unknown> = {};
  for (const reference of release.spec?.valuesFrom ?? []) {
    values = merge(values, await referredValues(client, reference));
  }
  const own = release.spec?.values ?? {};
  if (!isRecord(own)) throw invalid('spec.values is no mapping');
  return merge(values, own);
}

async function referredValues(
  client: KubeClient,
  reference: ValuesReference,
): Promise<Record<string, unknown>> {
  const { kind, name, valuesKey = VALUES_KEY, targetPath, optional = false } = reference;
  const what = `${kind} ${MURAL_NAMESPACE}/${name}, key ${valuesKey}`;
  if (targetPath !== undefined && targetPath !== '') {
    throw invalid(`spec.valuesFrom: targetPath is not supported (${what}); let the key hold a mapping`);
  }
  const resource = kind === 'Secret' ? SECRETS : CONFIG_MAPS;
  const object = await client.find<KubeObject>(resource, { name, namespace: MURAL_NAMESPACE });
  const text = textOf(object, valuesKey);
  if (text === undefined) {
    if (optional) return {};
    throw new CliError('NotFound', `spec.valuesFrom: there is no ${what}`);
  }
  // The parser's message would show the text, which may be a secret.
  const parsed = parsedYaml(text);
  if (parsed === null || parsed === undefined) return {};
  if (!isRecord(parsed)) throw invalid(`spec.valuesFrom: ${what} holds no YAML mapping`);
  return parsed;
}

function parsedYaml(text: string): unknown {
  try {
    return parse(text, { merge: true, maxAliasCount: 100 }) as unknown;
  } catch {
    return false;
  }
}

function merge(base: Record<string, unknown>, over: Record<string, unknown>): Record<string, unknown> {
  const merged = new Map(Object.entries(base));
  for (const [key, value] of Object.entries(over)) {
    const below = merged.get(key);
    merged.set(key, isRecord(below) && isRecord(value) ? merge(below, value) : value);
  }
  return Object.fromEntries(merged);
}

function invalid(message: string): CliError {
  return new CliError('ValuesInvalid', message);
}
