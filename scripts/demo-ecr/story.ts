/** What the demo tells: chapters, steps, commands with their output, and what was checked. */

/** The demo did not come out as it should. */
export class DemoError extends Error {}

/** Which lines of an output are shown; all unless told. */
export interface Shown {
  readonly first?: number;
  readonly last?: number;
}

/** Prints the story, and counts what it has proven. */
export class Story {
  readonly #start = performance.now();
  readonly #color = process.stdout.isTTY && process.env['NO_COLOR'] === undefined;
  #chapters = 0;
  #steps = 0;
  #checks = 0;

  /** How many checks have passed. */
  get checks(): number {
    return this.#checks;
  }

  /** Seconds since the start. */
  get seconds(): number {
    return (performance.now() - this.#start) / 1000;
  }

  chapter(title: string): void {
    this.#chapters += 1;
    this.#steps = 0;
    const head = `${this.#chapters}. ${title} `;
    const clock = `${this.seconds.toFixed(1)} s`;
    console.log(
      `\n${this.#paint('1;36', head)}${this.#paint('2', `${'─'.repeat(Math.max(4, 96 - head.length))} ${clock}`)}`,
    );
  }

  /** A step of the task, in the words of the guide. */
  step(text: string): void {
    this.#steps += 1;
    console.log(`\n${this.#paint('1', `${this.#chapters}.${this.#steps}  ${text}`)}`);
  }

  /** A remark. */
  say(text: string): void {
    console.log(indent(text, '     '));
  }

  command(text: string): void {
    console.log(`\n${this.#paint('33', indent(text, '     ').replace(/^ {5}/, '   $ '))}`);
  }

  /** Text of a file as it stands now, or a part of it. */
  file(name: string, text: string): void {
    console.log(this.#paint('2', `     # ${name}`));
    console.log(indent(text.trimEnd(), '     '));
  }

  /** What a command printed. */
  output(text: string, shown: Shown = {}): void {
    const lines = text.trimEnd().split('\n');
    const { first = shown.last === undefined ? lines.length : 0, last = 0 } = shown;
    const hidden = Math.max(0, lines.length - first - last);
    const note = (count: number) => this.#paint('2', `… ${count} more ${count === 1 ? 'line' : 'lines'} …`);
    const head = lines.slice(0, hidden === 0 ? lines.length : first);
    const tail = hidden === 0 ? [] : lines.slice(lines.length - last);
    const cropped = [
      ...head.map(crop),
      ...(hidden === 0 ? [] : [note(hidden)]),
      ...(last === 0 ? [] : tail.map(crop)),
    ];
    console.log(indent(cropped.join('\n'), '     '));
  }

  /**
   * Says that something holds.
   *
   * @throws DemoError when it does not
   */
  check(what: string, holds: boolean, otherwise = ''): void {
    if (!holds)
      throw new DemoError(`This does not hold: ${what}.${otherwise === '' ? '' : `\n${otherwise}`}`);
    this.#checks += 1;
    console.log(`   ${this.#paint('32', '✔')} ${what}`);
  }

  #paint(code: string, text: string): string {
    return this.#color ? `\u001B[${code}m${text}\u001B[0m` : text;
  }
}

function indent(text: string, by: string): string {
  return text.replace(/^(?=.)/gm, by);
}

/** On a terminal, as much of a line as it has columns; elsewhere all of it. */
function crop(line: string): string {
  const width = process.stdout.isTTY ? process.stdout.columns - 6 : 0;
  return width > 20 && line.length > width ? `${line.slice(0, width - 1)}…` : line;
}
