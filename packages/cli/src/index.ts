export { type Context } from './context.ts';
export { CliError, type CliErrorCode } from './errors.ts';
export { main, runProcess } from './main.ts';
