export { parseHtpasswd } from './auth/htpasswd.ts';
export { type AccessOptions, checkAccess } from './auth/access.ts';
export type { AnonymousAccess } from './auth/caller.ts';
export type { CertificateRule, ClientCertificates } from './auth/client-certificates.ts';
export type { OidcIssuer, OidcRule } from './auth/oidc.ts';
export { ACTIONS, type RegistryAction, type RegistryPolicy } from './auth/policy.ts';
export {
  openRobots,
  type Robot,
  type RobotAccounts,
  type RobotDocument,
  robotDocument,
  type RobotSecret,
  type RobotSettings,
} from './auth/robots.ts';
export type { TokenOptions } from './auth/tokens.ts';
export type { RegistryUser } from './auth/users.ts';
export {
  RegistryError,
  type RegistryErrorCode,
  RegistrySetupError,
  type RegistrySetupErrorCode,
} from './errors.ts';
export {
  BACKUP_DATABASES,
  type BackupDatabase,
  type BackupReport,
  type BackupSource,
  restoreBackup,
  writeBackup,
} from './maintenance/backup.ts';
export type { CollectOptions, Protect, ProtectedContent } from './maintenance/collector.ts';
export type { CollectionReport, Finding } from './maintenance/findings.ts';
export {
  checkMaintenance,
  type MaintenanceOptions,
  type MaintenanceRules,
  type RegistryMaintenance,
} from './maintenance/maintenance.ts';
export {
  type LeaseDocument,
  leaseDocument,
  type LeasesOfHolder,
  type RegistryLeases,
} from './maintenance/leases.ts';
export { openRegistryData, type RegistryData, type RegistryDataOptions } from './maintenance/offline.ts';
export type { QuotaRule, RetentionRule, TagRule } from './maintenance/rules.ts';
export type { Damage, ScrubOptions, ScrubReport } from './maintenance/scrub.ts';
export type { RegistryStats, RepositoryStats } from './maintenance/stats.ts';
export type { Problem, ProblemKind, VerifyReport } from './maintenance/verify.ts';
export { checkEvents, type EventEndpoint, type EventOptions } from './ops/event-options.ts';
export {
  EVENT_ACTIONS,
  type EventAction,
  type EventListener,
  type EventRequest,
  type RegistryEvent,
} from './ops/events.ts';
export type { MetricsOptions } from './ops/operations.ts';
export { compileMirrors as checkMirrors, type MirrorOptions } from './mirror/options.ts';
export type { Lease, LeaseKey, LeaseQuery } from './store/leases.ts';
export type { StorageState } from './store/storage-health.ts';
export { type RegistryOptions, type RunningRegistry, startRegistry } from './server.ts';
export type { TlsMaterial } from './tls.ts';
