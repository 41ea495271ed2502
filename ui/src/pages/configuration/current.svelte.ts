/** The configuration as it was read last, and what it may be. */
import { get, type Schema } from "../../lib/api";

export type Property = Schema["Property"];
export type Changed = Schema["Changed"];
export type Values = Readonly<Record<string, string>>;

class Current {
  index = $state.raw<Schema["MultipathIndex"] | null>(null);
  overrides = $state.raw<Schema["Overrides"] | null>(null);
  properties = $state.raw<Property[]>([]);
  /** Why it could not be read. */
  why = $state("");
  #asked = 0;
  /** What nodes are to have in force; null: nothing is configured, so nothing is to be there. */
  wanted = $derived(this.index && !this.#empty() ? this.index["combined-digest"] : null);

  /** Read it all again. What could not be read stays as it was, and `why` says so. */
  async read(): Promise<void> {
    const mine = ++this.#asked;
    try {
      const [index, overrides] = await Promise.all([get("/cluster/multipath"), get("/cluster/multipath/overrides")]);
      if (!this.properties.length) this.properties = await get("/cluster/multipath/properties");
      // of several readings, the last one that was asked for counts
      if (mine === this.#asked) [this.index, this.overrides, this.why] = [index, overrides, ""];
    } catch (error) {
      this.why = error instanceof Error ? error.message : String(error);
    }
  }

  /** Return the properties of an allowed LUN; null if it is none. */
  lun(wwid: string): Values | null {
    return this.index && Object.hasOwn(this.index.wwids, wwid) ? (this.index.wwids[wwid] ?? null) : null;
  }

  #empty(): boolean {
    const { defaults, wwids } = this.index ?? { defaults: {}, wwids: {} };
    return !Object.keys(defaults).length && !Object.keys(wwids).length && !this.overrides?.content.trim();
  }
}

export const current = new Current();
