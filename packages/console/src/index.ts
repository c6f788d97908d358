export { type ConsoleOptions, type ConsoleTls, type RunningConsole, startConsole } from './server.ts';
