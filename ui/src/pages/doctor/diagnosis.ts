/** What the doctor says, as docs/reference/findings.md has it. */
import { get, type Schema } from "../../lib/api";

export type Diagnosis = Schema["Diagnosis"];
export type Finding = Diagnosis["findings"][number];
export type Severity = Finding["severity"];

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

export function matching(findings: Finding[], { severity, node, text }: Filters): Finding[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return findings.filter((each) => {
    if (severity && each.severity !== severity) return false;
    if (node && !each.nodes.includes(node) && !(each.kind === "node" && each.subject === node)) return false;
    const about = [each.code, each.subject, each.alias ?? "", each.seen, ...each.nodes].join(" ").toLowerCase();
    return words.every((word) => about.includes(word));
  });
}
