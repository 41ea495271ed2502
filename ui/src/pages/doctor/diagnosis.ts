/** What the doctor says, as docs/reference/findings.md has it. */
import { get, type Schema } from "../../lib/api";

export type Diagnosis = Schema["Diagnosis"];
export type Finding = Diagnosis["findings"][number];
export type Severity = Finding["severity"];
export type Mute = Schema["Mute"];

export const DAY_SECONDS = 86_400;

export const SEVERITIES: Severity[] = ["error", "warning", "info"];
/** All nodes are asked, and LVM may take its time on each. */
const SECONDS = 90;

export function diagnosis(signal: AbortSignal): Promise<Diagnosis> {
  return get("/cluster/multipath/doctor", { seconds: SECONDS, signal });
}

export interface Filters {
  severity: Severity | null;
  node: string | null;
  text: string;
}

export function matches(finding: Finding, { severity, node, text }: Filters): boolean {
  if (severity && finding.severity !== severity) return false;
  if (node && !finding.nodes.includes(node) && !(finding.kind === "node" && finding.subject === node)) return false;
  const about = [finding.code, finding.subject, finding.alias ?? "", finding.seen, ...finding.nodes].join(" ").toLowerCase();
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return words.every((word) => about.includes(word));
}

/** Epoch seconds -> day and time of day here, as "1 Dec 2026, 14:05". */
export function date(seconds: number): string {
  return new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short", hourCycle: "h23" });
}
