import { type Command, Option } from 'commander';
import type { Context } from '../context.ts';
import { pairsOption } from '../options.ts';
import { addEcrPreflight } from './ecr-preflight.ts';

/** What `mural ecr policy` and `mural ecr trust-policy` share. */
interface PolicyBase {
  readonly values: string;
  readonly role: 'push' | 'pull' | 'push-and-pull';
  readonly account?: string;
  /** A policy to compare with what is needed, instead of printing it. */
  readonly check?: string;
}

/** Options of `mural ecr policy`. */
export type PolicyOptions = PolicyBase;

/** Options of `mural ecr trust-policy`. */
export interface TrustPolicyOptions extends PolicyBase {
  readonly hubIssuer?: string;
  readonly spokeIssuer?: Readonly<Record<string, string>>;
  readonly namespace: string;
  readonly spokeNamespace?: Readonly<Record<string, string>>;
}

/** `mural ecr policy|trust-policy|preflight`. */
export function addEcr(program: Command, context: Context): void {
  const ecr = program.command('ecr').description('what Amazon ECR needs');
  policyCommand(ecr, 'policy', 'print the least IAM policy that hue and source-controller need in ECR')
    .option('--account <id>', 'account of a registry of ECR Public, which its address does not tell')
    .action(async (options: PolicyOptions) => {
      const { runPolicy } = await import('./ecr-actions.ts');
      await runPolicy(options, context);
    });
  policyCommand(ecr, 'trust-policy', 'print the trust policy with which service accounts take a role (IRSA)')
    .option('--hub-issuer <url>', "OpenID Connect issuer of the hub's cluster")
    .option('--spoke-issuer <name=url>', 'that of the cluster of a spoke; can be repeated', pairsOption)
    .option('--namespace <name>', 'namespace of the release', 'mural-system')
    .option(
      '--spoke-namespace <name=namespace>',
      'that on a spoke where it differs; can be repeated',
      pairsOption,
    )
    .option(
      '--account <id>',
      'account of the role; that of the role in the values, else of the registry, unless given',
    )
    .action(async (options: TrustPolicyOptions) => {
      const { runTrustPolicy } = await import('./ecr-actions.ts');
      await runTrustPolicy(options, context);
    });
  addEcrPreflight(ecr, context);
}

function policyCommand(ecr: Command, name: string, description: string): Command {
  return ecr
    .command(name)
    .description(`${description}, as one JSON document`)
    .requiredOption('--values <file>', 'values.yaml of the chart')
    .addOption(
      new Option(
        '--role <role>',
        'push is for hue, pull for source-controller, push-and-pull for a role that both share',
      )
        .choices(['push', 'pull', 'push-and-pull'])
        .default('push-and-pull'),
    )
    .option(
      '--check <file>',
      'compare this policy with what is needed instead; exits with 1 when it lacks something',
    );
}
