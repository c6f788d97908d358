/** A source of numbers between 0 and 1 that says how to have the same ones again. */
export interface SeededRandom {
  (): number;
  readonly seed: number;
}

/**
 * The randomness of one test file. With `MURAL_SEED=<seed>` in the environment a run that failed is
 * played again; its seed stands in the name of the tests.
 */
export function seededRandom(): SeededRandom {
  const seed = Number(process.env.MURAL_SEED ?? Math.floor(Math.random() * 1e6));
  let state = seed;
  const next = (): number => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state / 2_147_483_648;
  };
  return Object.assign(next, { seed });
}
