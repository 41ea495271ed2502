/** Keeps the status true: reads it, follows its events, comes back by itself, and says when what is shown is old. */
import { ApiError, get, request } from "./api";
import { session } from "./session.svelte";
import { status } from "./status.svelte";
import { texts } from "./texts";
import { messages, type Message } from "./stream";

/** The stream has a comment each 15 s; without a sign of life for this long, the line is dead. */
const SILENCE_MS = 20_000;
const AGES_MS = 10_000;
const WAITS_MS = [0, 1000, 2000, 5000, 10_000];

class Feed {
  /** `live`: what is shown is now; `lost`: it is as of `since` (null: nothing was read yet), because of `why`. */
  state = $state<"starting" | "live" | "lost">("starting");
  since = $state<number | null>(null);
  /** When it was seen to be lost: only after a while of silence. */
  noticed = $state(0);
  why = $state("");
  /** The last sign of life: the status, an event or a comment. */
  #heard: number | null = null;
  #after: string | null = null;

  /** Follow until stopped; what this returns stops it. */
  start(): () => void {
    const stop = new AbortController();
    void this.#follow(stop.signal);
    void this.#age(stop.signal);
    return () => stop.abort();
  }

  async #follow(stopped: AbortSignal): Promise<void> {
    for (let tries = 0; !stopped.aborted; tries++) {
      try {
        if (this.#after === null) await this.#read(stopped);
        await this.#listen(stopped, () => (tries = 0));
        if (this.#after !== null) this.#lost(texts.feed.ended);
      } catch (error) {
        if (stopped.aborted) return;
        this.#lost(error instanceof Error ? error.message : String(error));
        if (error instanceof ApiError && error.status === 401) return;
      }
      await pause(WAITS_MS[Math.min(tries, WAITS_MS.length - 1)] ?? 0, stopped);
    }
  }

  async #read(stopped: AbortSignal): Promise<void> {
    const document = await get("/cluster/multipath/status", { signal: stopped, seconds: 30 });
    if (stopped.aborted) return;
    status.take(document);
    this.#after = document.event;
    this.#live();
  }

  /** Take what comes until the stream ends, or until the whole status is to be read again. */
  async #listen(stopped: AbortSignal, alive: () => void): Promise<void> {
    const dead = new AbortController();
    const die = () => dead.abort(new Error(texts.feed.silent(SILENCE_MS / 1000)));
    let timer = setTimeout(die, SILENCE_MS);
    try {
      const response = await request("GET", "/cluster/multipath/events", {
        query: { after: this.#after ?? undefined },
        seconds: Infinity,
        signal: AbortSignal.any([stopped, dead.signal]),
      });
      for await (const several of messages(response.body!)) {
        clearTimeout(timer);
        timer = setTimeout(die, SILENCE_MS);
        this.#live();
        alive();
        if (!this.#take(several)) return;
      }
    } catch (error) {
      // Where reading is cut short, the browser has words of its own for it.
      throw dead.signal.aborted ? dead.signal.reason : error;
    } finally {
      clearTimeout(timer);
      dead.abort();
    }
  }

  /** Take messages; return false where something was missed. What is still to come is in the status already. */
  #take(several: Message[]): boolean {
    for (const { id, event, data } of several) {
      if (event === "reset") {
        this.#after = null;
        return false;
      }
      status.change(event, JSON.parse(data));
      this.#after = id;
    }
    return true;
  }

  async #age(stopped: AbortSignal): Promise<void> {
    while (!stopped.aborted) {
      await pause(AGES_MS, stopped);
      if (document.hidden || this.state !== "live" || session.state !== "in") continue;
      try {
        status.ages(await get("/nodes", { signal: stopped }));
      } catch {
        // the stream tells when nobody answers
      }
    }
  }

  #live(): void {
    this.#heard = Date.now();
    this.state = "live";
    this.why = "";
  }

  #lost(why: string): void {
    if (this.state !== "lost") this.noticed = Date.now();
    this.since = this.#heard;
    this.state = "lost";
    this.why = why;
  }
}

function pause(ms: number, stopped: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    stopped.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

export const feed = new Feed();
