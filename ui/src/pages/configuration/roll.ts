/** How a node stands to the configuration, in the words of `pathfleet config status`. */
import type { Column } from "../../lib/status.svelte";

export type Standing = "in-force" | "behind" | "failed" | "unknown";
/** What a node has not said for so long counts for nothing (specification section 3). */
const STALE_SECONDS = 180;

export function standing(column: Column, wanted: string | null, now: number): Standing {
  const { head, spoke } = column;
  const old = spoke === null || Math.abs(now - spoke) > STALE_SECONDS * 1000;
  if (head.online !== true || !head.apply || old) return "unknown";
  if (head.apply.error !== null) return "failed";
  return head.apply.digest === wanted ? "in-force" : "behind";
}
