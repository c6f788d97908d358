import { Command } from 'commander';
import { addArtifacts } from './commands/artifacts.ts';
import { addEcr } from './commands/ecr.ts';
import { addRegistry } from './commands/registry.ts';
import { addSpoke } from './commands/spoke.ts';
import { addStatus } from './commands/status.ts';
import { addUp } from './commands/up.ts';
import { addValues } from './commands/values.ts';
import type { Context } from './context.ts';
import { VERSION } from './version.ts';

/** The whole command line. Errors are thrown, never printed and turned into an exit of the process. */
export function createProgram(context: Context): Command {
  const program = new Command('mural')
    .description('Delivers workloads to fleets of Kubernetes clusters through an OCI registry.')
    .version(VERSION)
    .exitOverride()
    .configureOutput({ writeOut: context.out, writeErr: context.err })
    .showSuggestionAfterError()
    .configureHelp({ showGlobalOptions: true });
  for (const add of [addUp, addSpoke, addStatus, addArtifacts, addRegistry, addValues, addEcr])
    add(program, context);
  return program;
}
