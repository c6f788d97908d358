export { hubAccess } from './access.ts';
export { spokeBootstrap, type SpokeBootstrapOptions } from './bootstrap.ts';
export { HubError, type HubErrorCode, RenderError, type RenderErrorCode } from './errors.ts';
export type { SpokeAccounts } from './fleet/accounts.ts';
export { HEARTBEAT_LIMIT_MS } from './fleet/heartbeats.ts';
export { SPOKE_FINALIZER, spokeNames } from './fleet/names.ts';
export { type Hub, type HubOptions, startHub } from './hub.ts';
export type { HubRegistry } from './hue/artifact-sources.ts';
export { MAX_MEMBERS as MAX_GROUP_MEMBERS } from './hue/groups.ts';
export { workloadTag } from './hue/tag.ts';
export { MigrationError, type MigrationErrorCode } from './migration/errors.ts';
export {
  KubeFleetView,
  KubeStateStore,
  KubeValuesStore,
  type ReleaseOwner,
} from './migration/kube-stores.ts';
export { registryIsFromValues } from './migration/fleet.ts';
export { migrate, type MigrationWorld, rollBack } from './migration/migration.ts';
export type {
  MigrationEnd,
  MigrationEvent,
  MigrationPlan,
  MigrationPorts,
  MigrationStep,
  WaveSize,
} from './migration/ports.ts';
export { type MigrationPreview, previewMigration } from './migration/preview.ts';
export { type MigrationRegistry, RegistryPair } from './migration/registries.ts';
export {
  isUnderWay,
  MIGRATION_CONFIG_MAP,
  MIGRATION_KEY,
  MigrationPhase,
  type MigrationSide,
  MigrationState,
  parseMigration,
  registryPartHash,
  type RegistryValues,
  sideOf,
} from './migration/state.ts';
export type { Renderers } from './render/types.ts';
export {
  GROUP_NAME,
  groupTag,
  HUB_SECRET,
  REGISTRY_CA_SECRET,
  REGISTRY_SECRET,
  ROOT_NAME,
  rootTag,
  type SpokeRegistrySettings,
} from './settings.ts';
