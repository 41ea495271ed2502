/** Work on a LUN on every node: asked about first, then done, with what was done until it halted. */
import { ApiError, post, type Schema } from "../../lib/api";
import { bytes } from "../../lib/format";
import { texts } from "../../lib/texts";
import { said, SLOW_SECONDS } from "./known.svelte";

export type Kind = "grow" | "retire";
export type Outlook = Schema["Outlook"];
export interface How {
  without: string[];
  force: boolean;
}
/** A step that was done, or that failed. */
export interface Line {
  text: string;
  failed: boolean;
}
/** `done`: what came of it; else `why` it stopped; `heard` false: nobody knows how it ended. */
export interface Course {
  lines: Line[];
  done: string;
  remarks: readonly string[];
  why: string;
  heard: boolean;
}

/** A slow node has its deadline in each of the steps. */
const WORK_SECONDS = 900;
const FAILED = "FAILED ";
const t = texts.storage.lun;

/** Return what would be done. Throws ApiError. */
export async function outlookOf(kind: Kind, wwid: string, how: How): Promise<Outlook | null> {
  const asked = { path: { wwid }, seconds: SLOW_SECONDS };
  const { without, force } = how;
  const course =
    kind === "grow"
      ? await post("/cluster/multipath/wwid/{wwid}/grow", { ...asked, body: { without, "dry-run": true } })
      : await post("/cluster/multipath/wwid/{wwid}/retire", { ...asked, body: { without, force, "dry-run": true } });
  return course.outlook ?? null;
}

/** Do it, and return how it went, also where it went wrong. */
export async function work(kind: Kind, wwid: string, how: How): Promise<Course> {
  const asked = { path: { wwid }, seconds: WORK_SECONDS };
  const { without, force } = how;
  try {
    if (kind === "grow") {
      const { steps, result } = await post("/cluster/multipath/wwid/{wwid}/grow", { ...asked, body: { without, "dry-run": false } });
      return ended(steps, result ? t.grow.done(bytes(result.size), result.nodes.join(", ")) : "", []);
    }
    const body = { without, force, "dry-run": false };
    const { steps, result } = await post("/cluster/multipath/wwid/{wwid}/retire", { ...asked, body });
    return ended(steps, result ? t.retire.done(result.nodes.join(", ")) : "", result?.remarks ?? []);
  } catch (error) {
    const heard = error instanceof ApiError && error.status !== 0;
    return { lines: error instanceof ApiError ? linesOf(error) : [], done: "", remarks: [], why: said(error), heard };
  }
}

function ended(steps: readonly Schema["Step"][], done: string, remarks: readonly string[]): Course {
  const lines = steps.map((step) => ({ text: t.step(step.node, step.what), failed: step.failed ?? false }));
  return { lines, done, remarks, why: "", heard: true };
}

function linesOf(error: ApiError): Line[] {
  const lines = error.errors["steps"]?.split("\n") ?? [];
  return lines.map((line) => ({ text: line.startsWith(FAILED) ? line.slice(FAILED.length) : line, failed: line.startsWith(FAILED) }));
}
