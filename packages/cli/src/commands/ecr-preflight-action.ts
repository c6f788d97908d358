import { MAX_GROUP_MEMBERS } from '@mural/hub';
import { preflight, type PreflightCheck } from '@mural/oci';
import { type Finding, hasErrors, parseValues, type Values } from '@mural/values';
import { type Context, readUserFile } from '../context.ts';
import { CliError } from '../errors.ts';
import { ECR_PUTS_PER_SECOND } from '../home/opened-registry.ts';
import type { PreflightCommandOptions } from './ecr-preflight.ts';
import { type PreflightTarget, targetsOf } from './ecr-preflight-targets.ts';

/** Of all checks together: each call has a limit of its own, this is for a network that swallows all. */
const TOTAL_MS = 5 * 60_000;
/** What the hub moves: the roots of spokes and the artifacts of groups. */
const MOVING_TAGS = ['spoke-*', 'group-*'];

/** Tries what the values need of their registries, and prints one line for each check. */
export async function runPreflight(options: PreflightCommandOptions, context: Context): Promise<void> {
  const text = await readUserFile(context, options.values);
  const ca = options.registryCa === undefined ? undefined : await readUserFile(context, options.registryCa);
  const done: PreflightCheck[] = [];
  const report = (check: PreflightCheck): void => {
    if (options.format === 'text') {
      if (done.at(-1)?.target !== check.target) context.out(`${check.target}\n`);
      context.out(lineOf(check));
    }
    done.push(check);
  };
  const { values, findings } = parseValues(text, options.values);
  for (const finding of findings) report(ofFinding(finding));
  if (hasErrors(findings)) {
    report({
      status: 'skip',
      check: 'registry',
      target: options.values,
      message: 'not looked at before the values are right',
    });
  } else {
    if (findings.length === 0) report(valuesAreRight(options.values));
    await checkAll(values, { options, context, ca, report });
  }
  if (options.format === 'json') context.out(`${JSON.stringify(done, null, 2)}\n`);
  if (done.some(({ status }) => status === 'fail')) context.exitWith(1);
}

async function checkAll(
  values: Values,
  how: {
    readonly options: PreflightCommandOptions;
    readonly context: Context;
    readonly ca: string | undefined;
    readonly report: (check: PreflightCheck) => void;
  },
): Promise<void> {
  const { options, context, report } = how;
  const targets = targetsOf(values, options.role);
  if (targets.length === 0) {
    report({
      status: 'skip',
      check: 'registry',
      target: options.values,
      message: 'the values name no registry but the embedded one, which needs no preflight',
    });
  }
  const timeout = AbortSignal.timeout(TOTAL_MS);
  const signal = AbortSignal.any([context.signal, timeout]);
  try {
    for (const target of targets) {
      for await (const check of preflight({ ...settingsOf(target, values, how), signal })) report(check);
    }
  } catch (error) {
    if (context.signal.aborted) throw new CliError('Stopped', 'stopped before all checks were made');
    if (!timeout.aborted) throw error;
    throw new CliError('NotReady', `the checks took longer than ${TOTAL_MS / 60_000} minutes`, {
      hint: 'check the network, HTTPS_PROXY, and the VPC endpoints for ECR and STS if there are any',
    });
  }
}

function settingsOf(
  target: PreflightTarget,
  values: Values,
  { options, context, ca }: { options: PreflightCommandOptions; context: Context; ca: string | undefined },
): Parameters<typeof preflight>[0] {
  const { boundRole, ...rest } = target;
  // Without a web identity there is nothing to take a role on with: the identity of the machine is used.
  const roleArn = context.env.AWS_WEB_IDENTITY_TOKEN_FILE === undefined ? undefined : boundRole;
  return {
    ...rest,
    roleArn,
    expectedRole: boundRole,
    ca: target.provider === 'generic' ? ca : undefined,
    spokes: Math.max(1, values.fleetConfig.spokes.length),
    movingTags: MOVING_TAGS,
    groupSize: MAX_GROUP_MEMBERS,
    putsPerSecond: ECR_PUTS_PER_SECOND,
    policyCommand: `mural ecr policy --values ${options.values} --role ${target.role}`,
    environment: context.env,
  };
}

function ofFinding({ file, line, column, level, message, rule, fix }: Finding): PreflightCheck {
  return {
    status: level === 'error' ? 'fail' : 'warn',
    check: `values/${rule}`,
    target: file,
    message: `line ${line}, column ${column}: ${message}`,
    ...(fix === undefined ? {} : { fix }),
  };
}

function valuesAreRight(file: string): PreflightCheck {
  return { status: 'ok', check: 'values', target: file, message: 'nothing to say' };
}

/** As wide as the longest action of ECR. */
const CHECK_WIDTH = 'ecr:BatchCheckLayerAvailability'.length;

/** `  fail  ecr:PutImage  what was found; fix: what to do`, below the line of the registry. */
function lineOf({ status, check, message, fix }: PreflightCheck): string {
  const what = message.replaceAll(/\s+/g, ' ');
  return `  ${status.padEnd(4)}  ${check.padEnd(CHECK_WIDTH)}  ${what}${fix === undefined ? '' : `; fix: ${fix}`}\n`;
}
