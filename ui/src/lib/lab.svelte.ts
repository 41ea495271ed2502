/**
 * The lab below this cluster, if it is a demo. Its operations are no part of the API's document (see docs/lab.md), so
 * what they say is written down here.
 */
import { ApiError, request } from "./api";

export interface Fault {
  fault: string;
  component: string;
  value: string;
}
/** A fault that there could be. `value`: what must be said, `[…]` if it may. */
export interface Possible {
  name: string;
  help: string;
  "applies-to": string[];
  value: string;
}
export interface Known {
  node: string;
  /** The kind of each component, by its name. */
  components: Record<string, string>;
  /** The WWIDs of LUNs, by their names in the lab. */
  luns: Record<string, string>;
  possible: Possible[];
  faults: Fault[];
}

/** Answers that stay so: nobody is signed in, it is not for them, there is no lab. */
const FINAL = [401, 403, 404];
const AGAIN_SECONDS = 3;

class Lab {
  /** What the lab has and what is wrong with it; null where there is none. */
  known = $state.raw<Known | null>(null);
  /** Why the last thing that was asked for did not happen. */
  refused = $state("");
  /** Why it is not known how the lab is now. */
  lost = $state("");
  #asked = 0;
  #later: ReturnType<typeof setTimeout> | undefined;

  /** Look whether there is a lab, until somebody can say. */
  find(): void {
    clearTimeout(this.#later);
    const asked = this.#ask("GET", "/lab");
    const turn = this.#asked;
    asked.catch((error: unknown) => {
      const final = error instanceof ApiError && FINAL.includes(error.status);
      if (turn === this.#asked && !final) this.#later = setTimeout(() => this.find(), AGAIN_SECONDS * 1000);
    });
  }

  leave(): void {
    clearTimeout(this.#later);
    this.#asked++;
    this.known = null;
    this.refused = this.lost = "";
  }

  /** Look again, as others may break things too. */
  async refresh(): Promise<void> {
    try {
      await this.#ask("GET", "/lab");
      this.lost = "";
    } catch (error) {
      this.lost = reason(error);
    }
  }

  async break(fault: Fault): Promise<void> {
    await this.#change("/lab/break", fault);
  }

  /** End one fault, or all. */
  async mend(fault?: Fault): Promise<void> {
    await this.#change("/lab/mend", fault ?? {});
  }

  async #change(path: string, body: unknown): Promise<void> {
    try {
      await this.#ask("POST", path, body);
      this.refused = "";
    } catch (error) {
      this.refused = reason(error);
    }
  }

  /** What was asked for last counts, whichever answer comes last. */
  async #ask(method: string, path: string, body?: unknown): Promise<void> {
    const turn = ++this.#asked;
    const response = await request(method, path, body === undefined ? {} : { body });
    const { data } = (await response.json()) as { data: Known };
    if (turn === this.#asked) this.known = data;
  }
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export const lab = new Lab();
