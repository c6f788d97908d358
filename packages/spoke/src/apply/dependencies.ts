import { jsonEqual } from '@mural/core';
import { conditionsOf, type Kustomization, type KustomizationSpec } from '@mural/kube';
import { CelError, evaluateBoolean } from './cel.ts';

/** Why a Kustomization may not be applied yet. */
export interface Unmet {
  /** `invalid` waits for a change of the spec, `waiting` for the dependency. */
  readonly kind: 'invalid' | 'waiting';
  readonly message: string;
}

/** `namespace/name` of everything a Kustomization depends on. */
export function dependencyKeys(kustomization: Kustomization): string[] {
  const own = kustomization.metadata.namespace ?? '';
  return (kustomization.spec.dependsOn ?? []).map(({ name, namespace }) => `${namespace ?? own}/${name}`);
}

/**
 * Finds the first dependency that is not met: it must be there, have observed its spec, be ready, and, when it
 * has the same source, have applied the same revision. An expression of the user's stands in place of all that.
 *
 * @param find looks a Kustomization up by `namespace/name`
 * @param revision what the source of this Kustomization offers now
 */
export function unmetDependency(
  self: Kustomization,
  spec: KustomizationSpec,
  revision: string,
  find: (key: string) => Kustomization | undefined,
): Unmet | undefined {
  const keys = dependencyKeys(self);
  for (const [index, { readyExpr }] of (spec.dependsOn ?? []).entries()) {
    const key = keys[index] ?? '';
    const dependency = find(key);
    if (dependency === undefined) return { kind: 'waiting', message: `dependency '${key}' not found` };
    const unmet =
      readyExpr === undefined
        ? byReadiness(self, dependency, key, revision)
        : byExpression(readyExpr, self, dependency, key);
    if (unmet !== undefined) return unmet;
  }
  return undefined;
}

function byReadiness(
  self: Kustomization,
  dependency: Kustomization,
  key: string,
  revision: string,
): Unmet | undefined {
  const ready = conditionsOf(dependency).find(({ type }) => type === 'Ready');
  const { observedGeneration, lastAppliedRevision } = dependency.status ?? {};
  if (ready?.status !== 'True' || observedGeneration !== dependency.metadata.generation) {
    return { kind: 'waiting', message: `dependency '${key}' is not ready` };
  }
  if (sameSource(self, dependency) && lastAppliedRevision !== revision) {
    return { kind: 'waiting', message: `dependency '${key}' revision is not up to date` };
  }
  return undefined;
}

function byExpression(
  expression: string,
  self: Kustomization,
  dependency: Kustomization,
  key: string,
): Unmet | undefined {
  try {
    if (evaluateBoolean(expression, { self, dep: dependency })) return undefined;
    return { kind: 'waiting', message: `dependency '${key}' is not ready according to readyExpr` };
  } catch (error) {
    if (!(error instanceof CelError)) throw error;
    const kind = error.code === 'ExpressionInvalid' ? 'invalid' : 'waiting';
    return { kind, message: `dependency '${key}': ${error.message}` };
  }
}

function sameSource(a: Kustomization, b: Kustomization): boolean {
  const source = ({ spec, metadata }: Kustomization): unknown => ({
    kind: spec.sourceRef.kind,
    name: spec.sourceRef.name,
    namespace: spec.sourceRef.namespace ?? metadata.namespace,
  });
  return jsonEqual(source(a), source(b));
}
