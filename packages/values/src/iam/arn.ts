/** What the ARN of an IAM role says. */
export interface RoleArn {
  readonly partition: string;
  /** Twelve digits. */
  readonly account: string;
  /** Path and name behind `role/`. */
  readonly name: string;
}

// IAM, "IAM identifiers": a path of printable characters, then a name of 1 to 64.
const ROLE = /^arn:(aws(?:-[a-z]+)*):iam::(\d{12}):role\/((?:[!-.0-~]+\/)*[\w+=,.@-]{1,64})$/;

/** Reads the ARN of a role; `undefined` when it is none. */
export function readRoleArn(text: string): RoleArn | undefined {
  if (text.length > 2048) return undefined;
  const [, partition, account, name] = ROLE.exec(text) ?? [];
  if (partition === undefined || account === undefined || name === undefined) return undefined;
  return { partition, account, name };
}

/** Whether `text` is the number of an AWS account. */
export function isAccount(text: string): boolean {
  return /^\d{12}$/.test(text);
}
