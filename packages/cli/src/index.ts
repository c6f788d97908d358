export { type Context } from './context.ts';
export { CliError, type CliErrorCode } from './errors.ts';
export { type FleetRow, fleetRows, formatFleet, healthOf } from './fleet-table.ts';
export { main, runProcess } from './main.ts';
export { formatAge, formatTable, shortDigest } from './table.ts';
