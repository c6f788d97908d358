import { type DestinationStream, type Logger as PinoLogger, pino, stdSerializers } from 'pino';
import { errorMessage, MuralError } from './errors.ts';

/** A structured log. Messages are fixed strings; what varies goes into the object before them. */
export type Logger = PinoLogger;

/** Where and how much is logged. */
export interface LoggerOptions {
  readonly level?: string;
  /** Where lines go: standard error unless told. */
  readonly destination?: DestinationStream;
  /** Name of the component, the field `name` of each line. */
  readonly name?: string;
  /**
   * Whether fields are searched for secrets, which is the default. A log of fixed fields without any, such as
   * one of requests, does without: the search costs more than the line.
   */
  readonly masked?: boolean;
}

const SECRETS = ['password', 'token', 'authorization', 'auth', 'secret', 'credentials', 'privateKey'];

/** A JSON log that masks fields whose names say that they are secret, at the top and one level down. */
export function createLogger(options: LoggerOptions = {}): Logger {
  return pino(
    {
      level: options.level ?? 'info',
      ...(options.name === undefined ? {} : { name: options.name }),
      base: {},
      timestamp: timeField,
      serializers: { err: serializeError },
      formatters: { level: (label) => ({ level: label }) },
      ...(options.masked === false
        ? {}
        : { redact: { paths: SECRETS.flatMap((key) => [key, `*.${key}`]), censor: '***' } }),
    },
    options.destination ?? pino.destination({ dest: 2, sync: true }),
  );
}

let second = 0;
let upToSecond = '';

/** `,"time":"2026-01-02T03:04:05.678Z"`: all lines of a second have the costly part of it in common. */
function timeField(): string {
  const now = Date.now();
  const milliseconds = now % 1000;
  if (now - milliseconds !== second) {
    second = now - milliseconds;
    upToSecond = new Date(second).toISOString().slice(0, -4);
  }
  return `,"time":"${upToSecond}${String(milliseconds).padStart(3, '0')}Z"`;
}

/** A log that keeps nothing. */
export const silentLogger: Logger = pino({ level: 'silent' });

/** An error of ours says all in code, message and facts; of any other the stack is wanted too. */
function serializeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  if (!isMuralError(error)) return stdSerializers.err(error);
  const { code, message, hint, facts, cause } = error;
  return {
    code,
    message,
    ...(hint === undefined ? {} : { hint }),
    facts,
    ...(cause === undefined ? {} : { cause: errorMessage(cause) }),
  };
}

function isMuralError(error: Error): error is MuralError {
  return error instanceof MuralError;
}
