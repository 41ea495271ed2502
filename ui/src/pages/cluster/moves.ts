/** Places in the table: where a key leads, which one an element is, and how one comes into view. */
import type { Line } from "../../lib/view";

export interface Place {
  line: number;
  column: number;
}

interface Table {
  lines: Line[];
  columns: number;
  /** How many lines a page has. */
  page: number;
}

/** Return the place that a key leads to from `at`, null if the key is none of the table's. Titles are passed over. */
export function stepped(event: KeyboardEvent, at: Place, { lines, columns, page }: Table): Place | null {
  const last = { line: lines.length - 1, column: columns - 1 };
  const moves: Record<string, () => Place> = {
    ArrowUp: () => down(-1),
    ArrowDown: () => down(1),
    ArrowLeft: () => ({ ...at, column: Math.max(0, at.column - 1) }),
    ArrowRight: () => ({ ...at, column: Math.min(last.column, at.column + 1) }),
    PageUp: () => down(-page),
    PageDown: () => down(page),
    Home: () => ({ line: event.ctrlKey ? 0 : at.line, column: 0 }),
    End: () => (event.ctrlKey ? last : { ...at, column: last.column }),
  };
  return lines.length && columns > 0 ? (moves[event.key]?.() ?? null) : null;

  function down(lines_: number): Place {
    const step = Math.sign(lines_);
    let line = Math.min(last.line, Math.max(0, at.line + lines_));
    while (lines[line] && !lines[line]?.row) line += step;
    return lines[line] ? { ...at, line } : at;
  }
}

/** Return the place of a cell or head that has this element in it; line -1 is the head of the table, column -1 a LUN's name. */
export function placeOf(target: EventTarget | null): (Place & { element: HTMLElement }) | null {
  const element = target instanceof Element ? target.closest<HTMLElement>("[data-column]") : null;
  const line = element?.closest<HTMLElement>("[data-line]")?.dataset["line"];
  return element ? { element, line: Number(line ?? -1), column: Number(element.dataset["column"]) } : null;
}

/** Return the element at a place, if it is in the document. */
export function elementAt(box: HTMLElement, { line, column }: Place): HTMLElement | null {
  return box.querySelector(`[data-line="${line}"] > [data-column="${column}"]`);
}

/** Sizes in pixels: of a row, of the head, of what stays at the left, of what stands before the cells, of a cell. */
export interface Sizes {
  row: number;
  head: number;
  lead: number;
  meta: number;
  cell: number;
}

/** Scroll no further than needed to show a place. */
export function scrollTo(box: HTMLElement, { line, column }: Place, { row, head, lead, meta, cell }: Sizes): void {
  const [y, x] = [line * row, meta + column * cell];
  box.scrollTop = Math.min(y, Math.max(box.scrollTop, y + row + head - box.clientHeight));
  box.scrollLeft = Math.min(column ? x : 0, Math.max(box.scrollLeft, x + cell + lead - box.clientWidth));
}
