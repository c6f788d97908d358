import type { AnonymousAccess } from '@mural/registry';
import { type Command, Option } from 'commander';
import type { Context } from '../context.ts';
import { addressOption, portOption } from '../options.ts';
import { addRegistryMigrate } from './registry-migrate.ts';
import { addRegistryMaintenance } from './registry-maintenance.ts';
import { addRegistryLeases } from './registry-leases.ts';
import { addRobot } from './robot.ts';
import { LOG_LEVELS } from './run.ts';

/** Options of `mural registry serve`. */
export interface ServeOptions {
  readonly data: string;
  readonly listen: string;
  readonly port: number;
  readonly metricsPort?: number;
  readonly metricsListen?: string;
  readonly htpasswd?: string;
  readonly anonymous?: AnonymousAccess;
  readonly config?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tls: boolean;
  readonly readyFile?: string;
  readonly logLevel: string;
}

/** `mural registry serve|migrate|robot|lease|stats|gc|scrub|verify|backup|restore`. */
export function addRegistry(program: Command, context: Context): void {
  const registry = program
    .command('registry')
    .description('the OCI registry: run it, look after it, move to another');
  addRegistryMigrate(registry, context);
  addRobot(registry, context);
  addRegistryMaintenance(registry, context);
  addRegistryLeases(registry, context);
  registry
    .command('serve')
    .description('run the OCI registry')
    .option('--data <dir>', 'folder of all state', '.mural-registry')
    .option('--listen <address>', 'address to listen on', addressOption, '127.0.0.1')
    .option('--port <port>', 'port; 0 for any', portOption, 5000)
    .option(
      '--metrics-port <port>',
      'port of /metrics, /livez and /readyz, without TLS; none unless given',
      portOption,
    )
    .option('--metrics-listen <address>', 'address of that port; 127.0.0.1 unless given', addressOption)
    .option('--config <file>', 'who has access and how, and the rest, as YAML')
    .option('--htpasswd <file>', 'users, with bcrypt hashes; a generated one unless given')
    .addOption(
      new Option('--anonymous <access>', 'what works without credentials')
        .choices(['none', 'pull', 'push'])
        .default(undefined, 'none'),
    )
    .option('--tls-cert <file>', 'certificate (PEM); a generated one unless given')
    .option('--tls-key <file>', 'its key (PEM)')
    .option('--no-tls', 'plain HTTP, on loopback only')
    .option('--ready-file <file>', 'written as JSON when the registry serves, removed at stop')
    .addOption(new Option('--log-level <level>', 'how much is logged').choices(LOG_LEVELS).default('info'))
    .action(async (options: ServeOptions) => {
      const { serveRegistry } = await import('./registry-action.ts');
      await serveRegistry(options, context);
    });
}
