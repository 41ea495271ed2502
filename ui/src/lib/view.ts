/** What of the matrix is shown, and in which order. */
import { compare, WORST_FIRST, type Row, type State } from "./status.svelte";

const GROUPINGS = ["none", "state", "storage", "array"] as const;
export type Grouping = (typeof GROUPINGS)[number];

export interface Filters {
  problems: boolean;
  state: State | null;
  text: string;
  storage: string | null;
  transport: string | null;
  array: string | null;
  group: Grouping;
}

/** A line of the matrix: a LUN, or the title of those that follow. */
export type Line = { key: string } & ({ row: Row; title?: never } | { title: string; count: number; row?: never });

export function filters(query: URLSearchParams): Filters {
  const [state, group] = [query.get("state") as State, query.get("group") as Grouping];
  return {
    problems: query.get("problems") === "1",
    state: WORST_FIRST.includes(state) ? state : null,
    text: query.get("text") ?? "",
    storage: query.get("storage"),
    transport: query.get("transport"),
    array: query.get("array"),
    group: GROUPINGS.includes(group) ? group : "none",
  };
}

/** Return the rows that pass the filters. */
export function matching(rows: Iterable<Row>, { problems, state, text, storage, transport, array }: Filters): Row[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return [...rows].filter((row) => {
    const { head } = row;
    if (problems && row.calm) return false;
    if (state && head["cluster-state"] !== state) return false;
    if (storage !== null && !(storage === "" ? head.storages.length === 0 : head.storages.includes(storage))) return false;
    if (transport && head.transport !== transport) return false;
    if (array && head.array !== array) return false;
    const about = words.length ? [head.alias ?? "", head.wwid, head.array ?? "", ...head.storages].join(" ").toLowerCase() : "";
    return words.every((word) => about.includes(word));
  });
}

/** Return rows worst first; with `before`, in the order in which they were, and new ones after them. */
export function ordered(rows: Row[], before: Row[] | null): Row[] {
  const sorted = rows.sort(compare);
  if (before === null) return sorted;
  const places = new Map(before.map((row, place) => [row, place]));
  return sorted.sort((a, b) => (places.get(a) ?? Infinity) - (places.get(b) ?? Infinity) || 0);
}

/** Return the lines of rows, with titles where they are grouped. */
export function lines(rows: Row[], grouping: Grouping, nameless: { storage: string; array: string }): Line[] {
  if (grouping === "none") return rows.map((row) => ({ key: row.wwid, row }));
  const titles = {
    state: ({ head }: Row) => [head["cluster-state"]],
    storage: ({ head }: Row) => (head.storages.length ? head.storages : [nameless.storage]),
    array: ({ head }: Row) => [head.array ?? nameless.array],
  }[grouping];
  const groups = new Map<string, Row[]>();
  for (const row of rows)
    for (const title of titles(row))
      groups.set(title, [...(groups.get(title) ?? []), row]);
  return [...groups].flatMap(([title, members]) => [
    { key: title, title, count: members.length },
    // A LUN that two storages consume stands below each of them.
    ...members.map((row) => ({ key: `${title} ${row.wwid}`, row })),
  ]);
}

/** Which of `count` things of one size can be seen, with some more on each side. */
export function visible(scrolled: number, shown: number, size: number, count: number, more: number): [number, number] {
  const first = Math.max(0, Math.floor(scrolled / size) - more);
  return [Math.min(first, count), Math.min(count, Math.ceil((scrolled + shown) / size) + more)];
}
