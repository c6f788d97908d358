import { type Clock, jsonEqual, type Logger, rfc3339 } from '@mural/core';
import { CliError } from '../errors.ts';
import { placeOf } from './registry-choice.ts';
import { defaultDocument, errorLines, readValues, type ValuesDocument } from './values-document.ts';
import { VALUES_FILE, type ValuesStore } from './values-store.ts';

/** Former values whose registry some spokes may still read. */
export interface FormerDocument extends ValuesDocument {
  /** RFC 3339: since when the registry is another. */
  readonly since: string;
}

/** Where {@link TakenValues} stands, to go back to. */
export interface TakenState {
  readonly document: ValuesDocument;
  /** The latest first; each names another repository. */
  readonly former: readonly FormerDocument[];
  /** Whether nothing was ever in force in this folder: then nobody reads a former registry. */
  readonly fresh: boolean;
}

/** Registries that are kept for spokes beside the present one. */
const MAX_FORMER = 4;

/**
 * What the home took last, and the former values that it still needs. It is stored before anything is
 * done by it, so that a home that is killed knows at its next start what spokes may read.
 */
export class TakenValues {
  readonly #store: ValuesStore;
  readonly #clock: Clock;
  #state: TakenState = { document: defaultDocument(), former: [], fresh: true };

  constructor(store: ValuesStore, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  get state(): TakenState {
    return this.#state;
  }

  /**
   * Takes up what an earlier process stored.
   *
   * @throws CliError `ValuesInvalid` when the values in force can no longer be read
   */
  async load(log: Logger): Promise<void> {
    const stored = await this.#store.taken();
    if (stored === undefined) return;
    const former: FormerDocument[] = [];
    for (const { text, since } of stored.former) {
      const { document, findings } = readValues(text, VALUES_FILE);
      if (document !== undefined) former.push({ ...document, since });
      else log.warn({ detail: errorLines(findings) }, 'former values are not valid any more and are dropped');
    }
    const { text } = stored;
    const document = text === undefined ? defaultDocument() : requireValues(text, VALUES_FILE);
    this.#state = { document, former, fresh: false };
  }

  /**
   * Takes other values; the former ones are kept where they name another registry.
   *
   * @returns whether the registry is another now
   */
  async take(document: ValuesDocument): Promise<boolean> {
    const { document: old, former, fresh } = this.#state;
    if (fresh) {
      await this.restore({ document, former: [], fresh: false });
      return false;
    }
    if (old.text === document.text && jsonEqual(old.values, document.values)) return false;
    const [place, oldPlace] = [placeOf(document.values), placeOf(old.values)];
    const others = former.filter(({ values }) => ![place, oldPlace].includes(placeOf(values)));
    const moved = place !== oldPlace;
    const left = moved ? [{ ...old, since: rfc3339(this.#clock.now()) }] : [];
    await this.restore({ document, former: [...left, ...others].slice(0, MAX_FORMER), fresh: false });
    return moved;
  }

  /** Lets go of all former values. */
  async letGo(): Promise<void> {
    await this.restore({ ...this.#state, former: [] });
  }

  /** Goes back to a state. */
  async restore(state: TakenState): Promise<void> {
    this.#state = state;
    const { document, former } = state;
    const texts = former.map(({ text = '', since }) => ({ text, since }));
    await this.#store.take({ text: document.text, former: texts });
  }
}

/**
 * Reads a values document that has to be valid.
 *
 * @throws CliError `ValuesInvalid`
 */
export function requireValues(text: string, file: string): ValuesDocument {
  const { document, findings } = readValues(text, file);
  if (document !== undefined) return document;
  throw new CliError('ValuesInvalid', `the values are not valid:\n${errorLines(findings)}`, {
    hint: '"mural values lint FILE" checks a file',
  });
}
