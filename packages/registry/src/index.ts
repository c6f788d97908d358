export { parseHtpasswd } from './auth/htpasswd.ts';
export type { RegistryAction, RegistryPolicy } from './auth/policy.ts';
export type { AnonymousAccess, RegistryUser } from './auth/users.ts';
export {
  RegistryError,
  type RegistryErrorCode,
  RegistrySetupError,
  type RegistrySetupErrorCode,
} from './errors.ts';
export { type RegistryOptions, type RunningRegistry, startRegistry, type TlsMaterial } from './server.ts';
