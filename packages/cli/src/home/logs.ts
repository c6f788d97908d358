import { join } from 'node:path';
import { type Clock, createLogger, type Logger } from '@mural/core';
import type { LogSource } from '@mural/apiserver';
import { LogFile } from './log-file.ts';
import { controllerOf, type ControllerName } from './controllers.ts';

/** How much is logged, and where lines go beside their files. */
export interface LogSettings {
  /** Level of pino: trace, debug, info, warn, error or silent. */
  readonly level: string;
  /** Gets each line as well: standard error. */
  readonly echo: (line: string) => void;
}

/** The logs of a home: one file per controller, one of the process itself, one of the registry's requests. */
export interface Logs {
  readonly main: Logger;
  readonly access: Logger;
  readonly controllers: Readonly<Record<ControllerName, Logger>>;
  /** What the API's `pods/log` answers. */
  readonly source: LogSource;
  close(): Promise<void>;
}

/** Opens the logs in `folder`. */
export async function openLogs(folder: string, settings: LogSettings, clock: Clock): Promise<Logs> {
  const open = async (name: string, keepLines?: number): Promise<LogFile> =>
    LogFile.open(join(folder, `${name}.log`), clock, keepLines);
  const files = {
    main: await open('mural'),
    access: await open('registry-access', 0),
    hue: await open('hue'),
    'source-controller': await open('source-controller'),
  };
  const logger = (file: LogFile, name: string): Logger =>
    createLogger({
      name,
      level: settings.level,
      destination: {
        write: (line) => {
          file.write(line);
          settings.echo(line);
        },
      },
    });
  return {
    main: logger(files.main, 'mural'),
    access: createLogger({ name: 'registry', level: 'info', destination: files.access, masked: false }),
    controllers: {
      hue: logger(files.hue, 'hue'),
      'source-controller': logger(files['source-controller'], 'source-controller'),
    },
    source: (pod, options, signal) => {
      const name = controllerOf(pod);
      if (name === undefined || (pod.container !== undefined && pod.container !== name)) return undefined;
      return files[name].read(options, signal);
    },
    close: async () => {
      await Promise.all(Object.values(files).map(async (file) => file.close()));
    },
  };
}
