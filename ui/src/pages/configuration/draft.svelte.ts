/** What somebody is changing. Drafts outlive the view that shows them: what was typed is lost by discarding alone. */
import { session } from "../../lib/session.svelte";
import type { Values } from "./current.svelte";

type Value = string | null;

/** A property that somebody else changed, too. null: unset. */
export interface Clash {
  name: string;
  was: Value;
  theirs: Value;
  mine: Value;
}

/** Properties as they were read, and what of them is to be another. */
export class Draft {
  base = $state.raw<Values>({});
  digest = $state("");
  changes = $state.raw<Readonly<Record<string, Value>>>({});
  count = $derived(Object.keys(this.changes).length);

  value(name: string): Value {
    return this.changed(name) ? (this.changes[name] ?? null) : (this.base[name] ?? null);
  }

  changed(name: string): boolean {
    return Object.hasOwn(this.changes, name);
  }

  set(name: string, value: Value): void {
    const { [name]: _, ...others } = this.changes;
    this.changes = value === (this.base[name] ?? null) ? others : { ...others, [name]: value };
  }

  discard(): void {
    this.changes = {};
  }

  /** Return what is changed here, and by somebody else to something else. */
  clashes(now: Values): Clash[] {
    return Object.entries(this.changes)
      .map(([name, mine]) => ({ name, was: this.base[name] ?? null, theirs: now[name] ?? null, mine }))
      .filter(({ was, theirs, mine }) => theirs !== was && theirs !== mine);
  }

  /** Go on from what there is now; what is being changed stays. */
  take(base: Values, digest: string): void {
    const changes = Object.entries(this.changes).filter(([name, value]) => value !== (base[name] ?? null));
    [this.base, this.digest, this.changes] = [base, digest, Object.fromEntries(changes)];
  }

  /** The changes as the API takes them. */
  get body(): Record<string, string | string[]> {
    const entries = Object.entries(this.changes);
    const values = entries.filter((entry): entry is [string, string] => entry[1] !== null);
    const unset = entries.filter(([, value]) => value === null).map(([name]) => name);
    return { ...Object.fromEntries(values), delete: unset };
  }
}

/** The overrides as they were read, and as they are being written. */
export class TextDraft {
  base = $state("");
  digest = $state("");
  text = $state("");
  dirty = $derived(this.text !== this.base);

  /** Go on from what there is now; a text that is being written stays. */
  take(base: string, digest: string): void {
    if (!this.dirty) this.text = base;
    [this.base, this.digest] = [base, digest];
  }
}

let owner = "";
let drafts = new Map<string, Draft>();
let text = new TextDraft();

/** Return the draft of the defaults, or of a LUN. */
export function draft(of: string): Draft {
  belongs();
  const found = drafts.get(of) ?? new Draft();
  drafts.set(of, found);
  return found;
}

export function textDraft(): TextDraft {
  belongs();
  return text;
}

/** Whether anything that was typed is not stored. */
export function unsaved(): boolean {
  return text.dirty || [...drafts.values()].some((each) => each.count > 0);
}

/** Another one who signs in begins anew. */
function belongs(): void {
  const who = session.who?.name ?? "";
  if (who === owner) return;
  [owner, drafts, text] = [who, new Map(), new TextDraft()];
}
