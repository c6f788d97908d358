import type { Shell } from './shell.ts';
import type { Story } from './story.ts';
import type { World } from './world.ts';

/** What every chapter plays with. */
export interface Stage {
  readonly story: Story;
  readonly world: World;
  readonly shell: Shell;
  readonly signal: AbortSignal;
}
