/** What is going on, a line per topic: redrawn in place on a terminal, else printed when it changes. */
export class Progress {
  readonly #start = performance.now();
  readonly #topics = new Map<string, string>();
  readonly #interactive = process.stdout.isTTY;
  #drawn = 0;

  /** Seconds since the start, as a column. */
  #clock(): string {
    return `${((performance.now() - this.#start) / 1000).toFixed(1).padStart(6)} s`;
  }

  /** Says how a topic stands now. */
  update(topic: string, text: string): void {
    if (this.#topics.get(topic) === text) return;
    this.#topics.set(topic, text);
    if (this.#interactive) this.#redraw();
    else console.log(`${this.#clock()}  ${topic.padEnd(10)} ${text}`);
  }

  /** Leaves the lines as they are, and goes on below them. */
  finish(): void {
    this.#drawn = 0;
    this.#topics.clear();
  }

  #redraw(): void {
    // A terminal of unknown width says 0.
    const width = process.stdout.columns > 0 ? process.stdout.columns : 100;
    const lines = [...this.#topics].map(([topic, text]) =>
      `${this.#clock()}  ${topic.padEnd(10)} ${text}`.slice(0, width - 1),
    );
    const up = this.#drawn > 0 ? `\u001B[${this.#drawn}A` : '';
    process.stdout.write(`${up}${lines.map((line) => `\u001B[2K${line}\n`).join('')}`);
    this.#drawn = lines.length;
  }
}
