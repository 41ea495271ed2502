/** Who is signed in. The session itself is a cookie that no script can read; nothing is kept in the browser. */
import { ApiError, configure, request, type Schema } from "./api";

type Known = Schema["SessionDocument"];
export type Role = Known["role"];
const RANKS: Role[] = ["auditor", "operator", "admin"];

class Session {
  /** `asking`: not known yet; `in`, `out`; `away`: the agent does not answer. */
  state = $state<"asking" | "in" | "out" | "away">("asking");
  who = $state.raw<Known | null>(null);
  /** Why nobody is signed in, if that is not plain. */
  why = $state("");

  constructor() {
    configure({ refused: () => this.#over() });
  }

  /** Whether who is signed in may do what needs this role. */
  may(role: Role): boolean {
    return this.who !== null && RANKS.indexOf(this.who.role) >= RANKS.indexOf(role);
  }

  /** Ask who is signed in. */
  async resume(): Promise<void> {
    try {
      this.#in(await known(await request("GET", "/access/session")));
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) this.state = "out";
      else this.#away(error);
    }
  }

  /** Sign in with a token. Throws ApiError. */
  async begin(token: string): Promise<void> {
    const headers = { authorization: `Bearer ${token}` };
    this.#in(await known(await request("POST", "/access/session", { headers })));
  }

  async end(): Promise<void> {
    try {
      await request("DELETE", "/access/session");
    } finally {
      this.who = null;
      this.state = "out";
    }
  }

  #in(who: Known): void {
    configure({ csrf: who.csrf });
    this.who = who;
    this.why = "";
    this.state = "in";
  }

  #over(): void {
    this.who = null;
    if (this.state === "in") this.state = "out";
  }

  #away(error: unknown): void {
    this.why = error instanceof Error ? error.message : String(error);
    this.state = "away";
  }
}

async function known(response: Response): Promise<Known> {
  return ((await response.json()) as { data: Known }).data;
}

export const session = new Session();
