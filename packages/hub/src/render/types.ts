import type { Component, UnstructuredObject, WorkloadProfileSpec } from '@mural/kube';
import type { Evaluator, ExpressionVariables, SpokeUse } from './expressions.ts';
import type { KnownScopes } from './scope.ts';

/** Files by path: text of the profile, or what an artifact holds. */
export type Files = Readonly<Record<string, Uint8Array | string>>;

/** Paths of the binaries that some component types need; a missing one is looked up on PATH. */
export interface Renderers {
  readonly helm?: string;
  readonly kustomize?: string;
}

/** All that a rendering depends on. Plain data, so that it can be handed to a worker thread. */
export interface RenderInput {
  readonly profile: WorkloadProfileSpec;
  readonly variables: ExpressionVariables;
  /** Content of the artifacts that components name, by component name. */
  readonly artifacts: Readonly<Record<string, Files>>;
  readonly renderers: Renderers;
  /** Directories to look for binaries in, as in PATH. */
  readonly searchPath: string;
  readonly scopes: KnownScopes;
  /** Limit of one run of a binary, in milliseconds. */
  readonly deadlineMs: number;
}

/** A rendered workload. */
export interface Rendering {
  /** Canonical YAML, one file a component. */
  readonly files: readonly { readonly path: string; readonly content: string }[];
  readonly objects: number;
  /** How much the result depends on the spoke: what must be equal for two spokes to share it. */
  readonly spokeUse: SpokeUse;
  /** Kinds whose scope was not known and was guessed. */
  readonly unknownKinds: readonly { readonly apiVersion: string; readonly kind: string }[];
}

/** What the renderer of one component type gets. */
export interface ComponentInput {
  readonly component: Component;
  readonly evaluator: Evaluator;
  readonly variables: ExpressionVariables;
  readonly artifact: Files | undefined;
  /** Namespace of objects that name none. */
  readonly namespace: string;
  readonly renderers: Renderers;
  readonly searchPath: string;
  readonly deadlineMs: number;
}

/** An object, and where it was read for messages about it. */
export interface RenderedObject {
  readonly object: UnstructuredObject;
  readonly where: string;
}

/** Turns one component into objects. */
export type ComponentRenderer = (input: ComponentInput) => Promise<readonly RenderedObject[]>;
