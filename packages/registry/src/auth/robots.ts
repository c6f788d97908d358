import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { type Clock, rfc3339 } from '@mural/core';
import { RegistrySetupError } from '../errors.ts';
import { AccessDatabase } from './access-database.ts';
import { type Caller, callerWith } from './caller.ts';
import { checkPolicies, type RegistryPolicy } from './policy.ts';
import { ROBOT_PREFIX } from './users.ts';

/** What a robot account is made of. */
export interface RobotSettings {
  /** Lower case letters, digits, `.`, `_` and `-`. It signs in as `robot+<name>`. */
  readonly name: string;
  readonly policies: readonly RegistryPolicy[];
  readonly description?: string;
  /** Milliseconds since the epoch; for ever unless given. */
  readonly expiresAt?: number;
}

/** A robot account as it is shown: without its secrets. Times are milliseconds since the epoch. */
export interface Robot extends RobotSettings {
  /** The user name that it signs in with. */
  readonly username: string;
  readonly createdAt: number;
  /** When its newest secret was made. */
  readonly rotatedAt: number;
  /** Until when the secret before the newest is good too. */
  readonly previousSecretUntil?: number;
}

/** A robot account as it is told to others: its times are in RFC 3339. */
export interface RobotDocument extends Omit<RobotSettings, 'expiresAt'> {
  readonly username: string;
  readonly createdAt: string;
  readonly rotatedAt: string;
  readonly expiresAt?: string;
  readonly previousSecretUntil?: string;
}

/** A new secret, which is shown this once. */
export interface RobotSecret {
  readonly robot: Robot;
  readonly username: string;
  readonly secret: string;
}

/** The robot accounts of a registry. */
export interface RobotAccounts {
  /** @throws RegistrySetupError `RobotInvalid`, `PolicyInvalid` */
  create(settings: RobotSettings): RobotSecret;
  /** All of them by name, the expired ones too. */
  list(): Robot[];
  /**
   * Makes another secret.
   *
   * @param overlapMs how long the secret until now stays good, an hour unless told
   * @throws RegistrySetupError `RobotUnknown`
   */
  rotate(name: string, overlapMs?: number): RobotSecret;
  /** @throws RegistrySetupError `RobotUnknown` */
  remove(name: string): void;
}

interface StoredSecret {
  /** HMAC-SHA256 in base64. The secret has 256 random bits, so that a fast hash is enough. */
  readonly hash: string;
  readonly createdAt: number;
  readonly expiresAt?: number;
}

interface StoredRobot extends RobotSettings {
  readonly createdAt: number;
  /** Newest first. */
  readonly secrets: readonly StoredSecret[];
}

/** A robot in memory; another object as soon as anything of it changes. */
interface Loaded {
  readonly text: string;
  readonly stored: StoredRobot;
  readonly hashes: readonly { readonly hash: Buffer; readonly expiresAt: number }[];
}

/** A robot whose secret was right. */
export interface SignedIn {
  readonly caller: Caller;
  /** Whether the robot is still as it was. */
  isCurrent(): boolean;
}

const NAME = /^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$/;
const SECRET_PREFIX = 'mural_';
const DEFAULT_OVERLAP_MS = 3_600_000;
const MAX_DESCRIPTION = 200;
const MAX_ROBOTS = 10_000;
/** How soon a change by another process is seen. */
const LOOK_EVERY_MS = 1000;

/** Robot accounts in the data folder: generated secrets, of which only keyed hashes are kept. */
export class Robots implements RobotAccounts {
  readonly #db: AccessDatabase;
  readonly #clock: Clock;
  readonly #key: Buffer;
  readonly #anonymous: readonly RegistryPolicy[];
  #loaded = new Map<string, Loaded>();
  #version = -1;
  #lookedAt = -Infinity;

  constructor(db: AccessDatabase, clock: Clock, anonymous: readonly RegistryPolicy[] = []) {
    this.#db = db;
    this.#clock = clock;
    this.#anonymous = anonymous;
    this.#key = robotKey(db, clock.now());
    this.#load();
  }

  create(settings: RobotSettings): RobotSecret {
    this.#check(settings);
    const now = this.#clock.now();
    return this.#change(settings.name, (before) => {
      if (before !== undefined) {
        throw robotInvalid(settings.name, 'there is one of that name already', 'Rotate its secret instead.');
      }
      return { ...settings, createdAt: now, secrets: [] };
    });
  }

  list(): Robot[] {
    this.#load();
    const now = this.#clock.now();
    return [...this.#loaded.values()].map(({ stored }) => shown(stored, now));
  }

  rotate(name: string, overlapMs: number = DEFAULT_OVERLAP_MS): RobotSecret {
    const until = this.#clock.now() + overlapMs;
    return this.#change(name, (before) => {
      if (before === undefined) throw unknown(name);
      const [newest] = before.secrets;
      const kept = newest === undefined || overlapMs <= 0 ? [] : [{ ...newest, expiresAt: until }];
      return { ...before, secrets: kept };
    });
  }

  remove(name: string): void {
    const { changes } = this.#db.statement('DELETE FROM robots WHERE name = ?').run(name);
    if (changes === 0) throw unknown(name);
    this.#load();
  }

  /** The robot that signs in with this user name and secret, if there is one. */
  signIn(username: string, secret: string): SignedIn | undefined {
    // Whoever was just made by another process signs in at once.
    this.#look(0);
    const name = username.slice(ROBOT_PREFIX.length);
    const robot = this.#loaded.get(name);
    const given = this.#hash(secret);
    const now = this.#clock.now();
    let until = -Infinity;
    for (const { hash, expiresAt } of robot?.hashes ?? []) {
      if (timingSafeEqual(hash, given)) until = expiresAt;
    }
    if (robot === undefined || until <= now) return undefined;
    return {
      caller: callerWith(username, robot.stored.policies, { anonymous: this.#anonymous, expires: until }),
      isCurrent: () => {
        this.#look();
        return this.#loaded.get(name) === robot;
      },
    };
  }

  #look(pauseMs: number = LOOK_EVERY_MS): void {
    const now = this.#clock.now();
    if (now - this.#lookedAt < pauseMs && now >= this.#lookedAt) return;
    this.#lookedAt = now;
    if (this.#db.version !== this.#version) this.#load();
  }

  #load(): void {
    this.#version = this.#db.version;
    this.#lookedAt = this.#clock.now();
    const loaded = new Map<string, Loaded>();
    for (const row of this.#db.statement('SELECT name, settings FROM robots ORDER BY name').all()) {
      const name = String(row['name']);
      const text = String(row['settings']);
      const before = this.#loaded.get(name);
      loaded.set(name, before?.text === text ? before : load(text));
    }
    this.#loaded = loaded;
  }

  #change(name: string, change: (before: StoredRobot | undefined) => StoredRobot): RobotSecret {
    const secret = `${SECRET_PREFIX}${randomBytes(32).toString('base64url')}`;
    const createdAt = this.#clock.now();
    const stored = this.#db.transaction(() => {
      const row = this.#db.statement('SELECT settings FROM robots WHERE name = ?').get(name);
      const changed = change(
        row === undefined ? undefined : (JSON.parse(String(row['settings'])) as StoredRobot),
      );
      const fresh = { hash: this.#hash(secret).toString('base64'), createdAt };
      const whole = { ...changed, secrets: [fresh, ...changed.secrets] };
      this.#db
        .statement('INSERT OR REPLACE INTO robots (name, settings) VALUES (?, ?)')
        .run(name, JSON.stringify(whole));
      return whole;
    });
    this.#load();
    const robot = shown(stored, createdAt);
    return { robot, username: robot.username, secret };
  }

  #check({ name, policies, description = '', expiresAt = Infinity }: RobotSettings): void {
    if (!NAME.test(name)) {
      throw robotInvalid(
        name.slice(0, 64),
        'a name has 1 to 63 lower case letters, digits, ".", "_" and "-", the first and last a letter or digit',
      );
    }
    if (/\p{Cc}/u.test(description) || description.length > MAX_DESCRIPTION) {
      throw robotInvalid(name, `a description is one line of at most ${MAX_DESCRIPTION} characters`);
    }
    if (!(expiresAt > this.#clock.now())) throw robotInvalid(name, 'it would have expired already');
    if (this.#loaded.size >= MAX_ROBOTS) throw robotInvalid(name, `there are ${MAX_ROBOTS} already`);
    checkPolicies(policies, `the robot "${name}"`);
  }

  #hash(secret: string): Buffer {
    return createHmac('sha256', this.#key).update(secret).digest();
  }
}

/**
 * Opens the robot accounts of the registry in `dataDir`, which may be serving: it sees changes within
 * a second. Must be closed.
 *
 * @throws RegistrySetupError `DataDirectoryInvalid`
 */
export function openRobots(dataDir: string, clock: Clock): RobotAccounts & { close(): void } {
  const db = AccessDatabase.open(dataDir);
  const robots = new Robots(db, clock);
  return {
    create: (settings) => robots.create(settings),
    list: () => robots.list(),
    rotate: (name, overlapMs) => robots.rotate(name, overlapMs),
    remove: (name) => robots.remove(name),
    close: () => db.close(),
  };
}

/** What is told of a robot. */
export function robotDocument(robot: Robot): RobotDocument {
  const { createdAt, rotatedAt, expiresAt, previousSecretUntil, ...rest } = robot;
  return {
    ...rest,
    createdAt: rfc3339(createdAt),
    rotatedAt: rfc3339(rotatedAt),
    ...(expiresAt === undefined ? {} : { expiresAt: rfc3339(expiresAt) }),
    ...(previousSecretUntil === undefined ? {} : { previousSecretUntil: rfc3339(previousSecretUntil) }),
  };
}

function load(text: string): Loaded {
  const stored = JSON.parse(text) as StoredRobot;
  const { expiresAt: end = Infinity } = stored;
  const hashes = stored.secrets.map(({ hash, expiresAt = Infinity }) => ({
    hash: Buffer.from(hash, 'base64'),
    expiresAt: Math.min(expiresAt, end),
  }));
  return { text, stored, hashes };
}

function shown(stored: StoredRobot, now: number): Robot {
  const { secrets, ...rest } = stored;
  const [newest, previous] = secrets;
  const until = previous?.expiresAt;
  return {
    ...rest,
    username: `${ROBOT_PREFIX}${stored.name}`,
    rotatedAt: newest?.createdAt ?? stored.createdAt,
    ...(until === undefined || until <= now ? {} : { previousSecretUntil: until }),
  };
}

/** The key that secrets are hashed with: a stolen list of hashes alone cannot be tried against. */
function robotKey(db: AccessDatabase, now: number): Buffer {
  return db.transaction(() => {
    const row = db.statement("SELECT secret FROM keys WHERE kind = 'robots'").get();
    if (row !== undefined) return Buffer.from(String(row['secret']), 'base64');
    const key = randomBytes(32);
    db.statement("INSERT INTO keys (id, kind, secret, created_at) VALUES ('robots', 'robots', ?, ?)").run(
      key.toString('base64'),
      now,
    );
    return key;
  });
}

function robotInvalid(name: string, why: string, hint?: string): RegistrySetupError {
  return new RegistrySetupError('RobotInvalid', `The robot "${name}" cannot be made: ${why}.`, {
    facts: { name },
    ...(hint === undefined ? {} : { hint }),
  });
}

function unknown(name: string): RegistrySetupError {
  return new RegistrySetupError('RobotUnknown', `There is no robot "${name.slice(0, 64)}".`, {
    facts: { name: name.slice(0, 64) },
  });
}
