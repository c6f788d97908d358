import { MuralError } from '@mural/core';

/** Why a workload could not be rendered: each is the reason of a condition. */
export type RenderErrorCode =
  | 'ParametersInvalid'
  | 'ExpressionFailed'
  | 'ComponentTypeUnknown'
  | 'PropertiesInvalid'
  | 'RenderFailed'
  | 'RendererMissing'
  | 'ArtifactInvalid';

/** A workload that cannot be rendered until somebody changes its input. */
export class RenderError extends MuralError<RenderErrorCode> {}

/** Why the hub could not do its work for an object; each is the reason of a condition. */
export type HubErrorCode =
  | 'ProfileNotFound'
  | 'EnvironmentNotFound'
  | 'NoSpokesSelected'
  | 'SpecInvalid'
  | 'DependencyCycle'
  | 'NoRegistry'
  | 'SpokeNotFound'
  | 'TokenNotIssued';

/** A request or an object that the hub cannot serve as it stands. */
export class HubError extends MuralError<HubErrorCode> {}
