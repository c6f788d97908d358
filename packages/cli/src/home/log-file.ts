import { createWriteStream, renameSync, statSync, type WriteStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { type Clock, systemCode } from '@mural/core';

/** Which part of a log is wanted: the query of the API's `pods/log`. */
export interface LogQuery {
  readonly follow: boolean;
  readonly tailLines?: number | undefined;
  readonly sinceSeconds?: number | undefined;
  readonly timestamps: boolean;
  readonly limitBytes?: number | undefined;
}

interface Line {
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly text: string;
}

/** Lines kept in memory, and so the most that a reader gets at once. */
const MAX_LINES = 10_000;
/** A log file larger than this is set aside as `.1`, in place of the one before. */
const MAX_FILE = 16 * 1024 * 1024;
/** What may wait for a slow disk; lines beyond it are kept in memory only. */
const MAX_PENDING = 4 * 1024 * 1024;
/** How long lines are gathered before they are written. */
const GATHER_MS = 10;

/**
 * The log of one controller: a stream for pino to write to, a file that outlives the process, and
 * the latest lines in memory for those who read or follow.
 */
export class LogFile {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #keepLines: number;
  readonly #followers = new Set<(line: Line) => void>();
  #lines: Line[] = [];
  #stream: WriteStream;
  #size: number;
  /** What is written together: a call of the system for each line would cost more than a small request. */
  #batch = '';
  #flushing: NodeJS.Timeout | undefined;

  private constructor(path: string, clock: Clock, kept: Line[], keepLines: number) {
    this.#path = path;
    this.#clock = clock;
    this.#lines = kept;
    this.#keepLines = keepLines;
    this.#size = sizeOf(path);
    this.#stream = openStream(path);
  }

  /**
   * Opens a log; what an earlier process wrote can be read too.
   *
   * @param keepLines how many lines are kept in memory; 0 for a log that is read from its file alone
   */
  static async open(path: string, clock: Clock, keepLines = MAX_LINES): Promise<LogFile> {
    return new LogFile(path, clock, keepLines === 0 ? [] : await readKept(path), keepLines);
  }

  /** Takes one line, with its end: pino's `DestinationStream`. */
  write(text: string): void {
    const ended = text.endsWith('\n') ? text : `${text}\n`;
    if (this.#keepLines > 0) this.#keep({ time: this.#clock.now(), text: ended.slice(0, -1) });
    this.#append(ended);
  }

  /** The lines that the query asks for; with `follow`, those to come too, until `signal` aborts. */
  async *read(query: LogQuery, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const queue: Line[] = [];
    let wake: () => void = () => undefined;
    const follower = (line: Line): void => {
      if (queue.length < MAX_LINES) queue.push(line);
      wake();
    };
    const aborted = (): void => wake();
    if (query.follow) this.#followers.add(follower);
    signal.addEventListener('abort', aborted, { once: true });
    try {
      let budget = query.limitBytes ?? Number.POSITIVE_INFINITY;
      queue.unshift(...this.#selected(query));
      for (;;) {
        const line = queue.shift();
        if (line !== undefined) {
          const bytes = format(line, query.timestamps).subarray(0, Math.min(budget, 1 << 20));
          budget -= bytes.length;
          yield bytes;
          if (budget <= 0) return;
          continue;
        }
        if (!query.follow || signal.aborted) return;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      this.#followers.delete(follower);
      signal.removeEventListener('abort', aborted);
    }
  }

  /** Writes out what is pending. */
  async close(): Promise<void> {
    if (this.#stream.closed) return;
    this.#flush();
    this.#stream.end();
    await once(this.#stream, 'close');
  }

  #selected(query: LogQuery): Line[] {
    const since =
      query.sinceSeconds === undefined ? undefined : this.#clock.now() - query.sinceSeconds * 1000;
    const recent = since === undefined ? this.#lines : this.#lines.filter((line) => line.time >= since);
    const kept = recent.slice(-MAX_LINES);
    return query.tailLines === undefined ? kept : query.tailLines === 0 ? [] : kept.slice(-query.tailLines);
  }

  #keep(line: Line): void {
    this.#lines.push(line);
    if (this.#lines.length > this.#keepLines * 1.25) this.#lines = this.#lines.slice(-this.#keepLines);
    for (const follower of this.#followers) follower(line);
  }

  #append(text: string): void {
    if (this.#stream.writableLength + this.#batch.length > MAX_PENDING) return;
    this.#batch += text;
    this.#flushing ??= setTimeout(() => this.#flush(), GATHER_MS);
  }

  #flush(): void {
    clearTimeout(this.#flushing);
    this.#flushing = undefined;
    const text = this.#batch;
    this.#batch = '';
    if (text === '' || this.#stream.writableEnded) return;
    if (this.#size > MAX_FILE) this.#rotate();
    this.#size += Buffer.byteLength(text);
    this.#stream.write(text);
  }

  #rotate(): void {
    this.#stream.end();
    renameSync(this.#path, `${this.#path}.1`);
    this.#stream = openStream(this.#path);
    this.#size = 0;
  }
}

function openStream(path: string): WriteStream {
  const stream = createWriteStream(path, { flags: 'a', mode: 0o600 });
  // A full disk must not take the controllers down; the lines stay readable in memory.
  stream.on('error', () => undefined);
  return stream;
}

function format(line: Line, timestamps: boolean): Buffer {
  return Buffer.from(timestamps ? `${new Date(line.time).toISOString()} ${line.text}\n` : `${line.text}\n`);
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

async function readKept(path: string): Promise<Line[]> {
  let file;
  try {
    file = await open(path, 'r');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
  try {
    const { size } = await file.stat();
    const start = Math.max(0, size - MAX_PENDING);
    const lines: Line[] = [];
    let partial = start > 0;
    for await (const text of createInterface({ input: file.createReadStream({ start }) })) {
      if (!partial) lines.push({ time: timeOf(text), text });
      partial = false;
    }
    return lines.slice(-MAX_LINES);
  } finally {
    await file.close().catch(() => undefined);
  }
}

/** The time that pino wrote into a line. */
function timeOf(text: string): number {
  const match = /"time":"([^"]+)"/.exec(text);
  const time = Date.parse(match?.[1] ?? '');
  return Number.isNaN(time) ? 0 : time;
}
