export type { StaticToken } from './auth/users.ts';
export type { LogOptions, LogSource, LogTarget } from './logs.ts';
export { type ApiServerOptions, type RunningApiServer, startApiServer } from './server.ts';
