/**
 * The matrix, read once and kept true by events. Rows and columns are objects of their own, so that an event costs
 * what it changes and no more.
 */
import type { Schema } from "./api";

export type State = Schema["State"];
export type Cell = Omit<Schema["AgedCell"], "age">;
export type LunHead = Omit<Schema["Lun"], "nodes">;
export type NodeHead = Omit<Schema["NodeRow"], "age">;
export type Cells = Readonly<Record<string, Cell>>;

/** The events, as docs/reference/api.md has them: null stands for what is gone. */
interface CellChange {
  wwid: string;
  node: string;
  cell: Cell | null;
  "cluster-state": State | null;
}
interface LunChange {
  wwid: string;
  lun: LunHead | null;
}
interface NodeChange {
  node: string;
  head: NodeHead | null;
}
interface WarningsChange {
  warnings: string[];
}

/** The roll-up: a row is as bad as its worst cell. */
export const WORST_FIRST: State[] = ["failed", "missing", "degraded", "unknown", "optimal"];
const RANK = Object.fromEntries(WORST_FIRST.map((state, place) => [state, place])) as Record<State, number>;

/** A LUN: its head, and its cells by node. */
export class Row {
  head: LunHead;
  cells: Cells;

  constructor(
    readonly wwid: string,
    head: LunHead,
    cells: Cells,
  ) {
    this.head = $state.raw(head);
    this.cells = $state.raw(cells);
  }

  get name(): string {
    return this.head.alias || this.wwid;
  }

  /** On how many nodes a flag stands beside the LUN's health. */
  get flagged(): number {
    let count = 0;
    for (const node in this.cells) if (this.cells[node]!.flags.length) count++;
    return count;
  }

  /** Whether there is nothing to say of the LUN but that all its paths are usable, as the API has it. */
  get calm(): boolean {
    return this.head["cluster-state"] === "optimal" && !this.head.warnings.length && !this.flagged;
  }
}

/** A node. `spoke`: when it last did, in milliseconds of this browser's clock. */
export class Column {
  head: NodeHead;
  spoke: number | null;

  constructor(
    readonly node: string,
    head: NodeHead,
    spoke: number | null,
  ) {
    this.head = $state.raw(head);
    this.spoke = $state(spoke);
  }
}

class Status {
  rows = $state.raw<ReadonlyMap<string, Row>>(new Map());
  columns = $state.raw<ReadonlyMap<string, Column>>(new Map());
  warnings = $state.raw<string[]>([]);
  /** Whether the matrix was read at all: an empty one would say that all is well. */
  known = $state(false);
  /** Moves when the order of rows, or what a filter says of them, may be another. */
  version = $state(0);

  /** Take the whole status. Rows and columns that stay are the same objects. */
  take(document: Schema["StatusDocument"]): void {
    const rows = new Map<string, Row>();
    for (const lun of document.luns) {
      const { nodes, ...head } = lun;
      const row = this.rows.get(lun.wwid);
      if (row) [row.head, row.cells] = [head, nodes];
      rows.set(lun.wwid, row ?? new Row(lun.wwid, head, nodes));
    }
    const columns = new Map<string, Column>();
    for (const { age, ...head } of document.nodes) {
      const column = this.columns.get(head.node);
      if (column) [column.head, column.spoke] = [head, spoke(age)];
      columns.set(head.node, column ?? new Column(head.node, head, spoke(age)));
    }
    [this.rows, this.columns, this.warnings] = [rows, columns, document.warnings];
    this.known = true;
    this.version++;
  }

  /** Take an event of the stream. */
  change(kind: string, data: unknown): void {
    if (kind === "cell") this.#cell(data as CellChange);
    else if (kind === "lun") this.#lun(data as LunChange);
    else if (kind === "node") this.#node(data as NodeChange);
    else if (kind === "warnings") this.warnings = (data as WarningsChange).warnings;
    this.version++;
  }

  /** Take how long ago nodes spoke: what they say anew without a change comes with no event. */
  ages(nodes: { node: string; age: number | null }[]): void {
    for (const { node, age } of nodes) {
      const column = this.columns.get(node);
      if (column) column.spoke = spoke(age);
    }
  }

  #cell({ wwid, node, cell, "cluster-state": state }: CellChange): void {
    const row = this.rows.get(wwid) ?? this.#made(wwid);
    const { [node]: _, ...cells } = row.cells;
    row.cells = cell ? { ...cells, [node]: cell } : cells;
    if (state === null) this.#lun({ wwid, lun: null });
    else if (state !== row.head["cluster-state"]) row.head = { ...row.head, "cluster-state": state };
  }

  #lun({ wwid, lun }: LunChange): void {
    if (lun) (this.rows.get(wwid) ?? this.#made(wwid)).head = lun;
    else this.rows = new Map([...this.rows].filter(([each]) => each !== wwid));
  }

  #made(wwid: string): Row {
    const head: LunHead = {
      wwid,
      alias: null,
      "cluster-state": "unknown",
      size: null,
      transport: null,
      array: null,
      storages: [],
      warnings: [],
    };
    const row = new Row(wwid, head, {});
    this.rows = new Map([...this.rows, [wwid, row]]);
    return row;
  }

  #node({ node, head }: NodeChange): void {
    const column = this.columns.get(node);
    if (head && column) column.head = head;
    else if (head) this.columns = byName([...this.columns, [node, new Column(node, head, null)]]);
    else this.columns = byName([...this.columns].filter(([each]) => each !== node));
  }
}

/** Compare rows: worst first, then by name, as the API has them. */
export function compare(a: Row, b: Row): number {
  const worse = RANK[a.head["cluster-state"]] - RANK[b.head["cluster-state"]];
  if (worse) return worse;
  if (a.name !== b.name) return a.name < b.name ? -1 : 1;
  return a.wwid < b.wwid ? -1 : 1;
}

function byName(columns: [string, Column][]): ReadonlyMap<string, Column> {
  return new Map(columns.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function spoke(age: number | null): number | null {
  return age === null ? null : Date.now() - age * 1000;
}

export const status = new Status();
