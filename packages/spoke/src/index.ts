export { applyBootstrap } from './bootstrap.ts';
export { type RunningSpoke, type SpokeOptions, startSpoke } from './spoke.ts';
