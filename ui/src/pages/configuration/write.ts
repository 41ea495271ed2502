/** A change of the configuration that is about to be shown, and then written. */
import type { Changed } from "./current.svelte";

export interface How {
  "dry-run": boolean;
  "at-once": boolean;
}

export interface Write {
  title: string;
  /** Send it. Throws ApiError. */
  send: (how: How) => Promise<Changed>;
  /** The digest of what it was made from, and of what there is now. */
  made: () => string;
  now: () => string;
  /** Make it from what there is now; false: somebody has to choose first. */
  rebase: () => boolean;
  /** What is wrong with which property: 400. */
  refused: (errors: Record<string, string>) => void;
  written: () => void;
}
