/** The properties in the order in which an operator thinks of them. */
import { texts } from "../../lib/texts";
import type { Property } from "./current.svelte";

const OF = texts.configuration.groups;
const MEMBERS: [string, RegExp][] = [
  [OF.name, /^alias$/],
  [OF.grouping, /^(path-(grouping-policy|selector)|prio(-args)?|failback|detect-(prio|pgpolicy.*)|rr-.*)$/],
  [OF.loss, /^(no-path-retry|features|flush-.*|queue-.*|deferred-.*|.*-tmo|eh-deadline|max-retries|ghost-delay)$/],
  [OF.checking, /^(path-checker|checker-.*|detect-checker|.*polling-interval|log-checker-err|force-sync|strict-timing)$/],
  [OF.unreliable, /^(marginal-.*|san-path-.*|delay-.*)$/],
  [OF.devices, /^(user-.*|find-.*|allow-.*|retain-.*|reassign-.*|skip-.*|max-sectors-kb|auto-resize|mode|[ug]id|recheck-.*|purge-.*|reservation-key|all-tg-pt)$/],
  [OF.daemon, /./],
];

export interface Group {
  title: string;
  rows: Property[];
}

export function grouped(rows: Property[]): Group[] {
  const first = (row: Property) => MEMBERS.find(([, names]) => names.test(row.name))?.[0];
  return MEMBERS.map(([title]) => ({ title, rows: rows.filter((row) => first(row) === title) })).filter(
    (group) => group.rows.length,
  );
}

/** Return what a value may be, in words. */
export function allowed(row: Property): string {
  const words = row.words.length > 0 ? [row.words.join(", ")] : [];
  if (row.minimum !== null) words.push(OF.range(row.minimum, row.maximum, row.unit));
  if (row.form !== null) words.push(row.form);
  return words.join(OF.or);
}

/** Return why a value will be refused, as far as a number shows it; the API has the last word. */
export function refusal(row: Property, value: string): string | undefined {
  if (row.kind !== "number" || row.words.includes(value)) return undefined;
  const number = /^(0|[1-9][0-9]*)$/.test(value) ? Number(value) : NaN;
  const fits = number >= (row.minimum ?? 0) && number <= (row.maximum ?? Infinity);
  return fits ? undefined : OF.refused(allowed(row));
}

/** Return the value with which a property that was unset begins. */
export function beginning(row: Property): string {
  return row.fixed ?? row.default ?? row.words[0] ?? (row.minimum === null ? "" : String(row.minimum));
}
