/** Which container's log is asked for. */
export interface LogTarget {
  readonly namespace: string;
  readonly name: string;
  readonly container?: string;
}

/** What of a log is asked for (`v1.PodLogOptions`). */
export interface LogOptions {
  readonly follow: boolean;
  /** Only that many lines from the end. */
  readonly tailLines?: number;
  /** Only lines of the last seconds. */
  readonly sinceSeconds?: number;
  /** Whether every line begins with its time. */
  readonly timestamps: boolean;
  readonly limitBytes?: number;
}

/** Where the logs of pods come from; `undefined` when it knows no such pod. */
export type LogSource = (
  pod: LogTarget,
  options: LogOptions,
  signal: AbortSignal,
) => AsyncIterable<Uint8Array> | undefined;
