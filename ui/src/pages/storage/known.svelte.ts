/** The storages as they were read last, and their room on one node. */
import { get, type Schema } from "../../lib/api";

/** A storage as storage.cfg has it: `storage`, `type`, and its properties. */
export type Storage = Readonly<Record<string, string>>;
export type Volume = Schema["Volume"];
export type Room = Schema["StorageStatus"];

/** What this page can look into; other types are listed and left alone. */
export const isKnown = (storage: Storage) => storage["type"] === "multipath" || storage["type"] === "lvm";
export const nodesOf = (storage: Storage) => storage["nodes"]?.split(",") ?? null;
export const isOn = (storage: Storage, node: string) =>
  isKnown(storage) && storage["disable"] !== "1" && (nodesOf(storage)?.includes(node) ?? true);

/** LVM may wait for a slow disk, and other nodes are asked. */
export const SLOW_SECONDS = 120;

class Known {
  storages = $state.raw<Storage[] | null>(null);
  /** By storage: its room, or why that is not known. */
  rooms = $state.raw<ReadonlyMap<string, Room | string>>(new Map());
  why = $state("");
  #asked = 0;

  /** Return the LUN that a storage's base is, and the storage of type multipath that has it; null if the base is no LUN. */
  lunOf(storage: Storage): { wwid: string; source: Storage } | null {
    const [, below, wwid] = /^([^:]+):(.+)$/.exec(storage["base"] ?? "") ?? [];
    const source = this.storages?.find((each) => each["storage"] === below);
    return wwid && source?.["type"] === "multipath" ? { wwid, source } : null;
  }

  /** Read it all again. Of several readings, the last one that was asked for counts. */
  async read(node: string): Promise<void> {
    const mine = ++this.#asked;
    try {
      const storages = await get("/storage");
      if (mine !== this.#asked) return;
      [this.storages, this.why] = [storages, ""];
    } catch (error) {
      this.why = said(error);
      return;
    }
    const asked = this.storages.filter((each) => isOn(each, node)).map((each) => each["storage"] ?? "");
    const rooms = new Map(await Promise.all(asked.map(async (name) => [name, await room(node, name)] as const)));
    if (mine === this.#asked) this.rooms = rooms;
  }
}

async function room(node: string, storage: string): Promise<Room | string> {
  try {
    return await get("/nodes/{node}/storage/{storage}/status", { path: { node, storage }, seconds: SLOW_SECONDS });
  } catch (error) {
    return said(error);
  }
}

/** Return the reasons of these nodes. */
export function kept(reasons: Readonly<Record<string, string>>, nodes: readonly string[]): Record<string, string> {
  return Object.fromEntries(Object.entries(reasons).filter(([node]) => nodes.includes(node)));
}

export function said(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

const POWERS = "KMGT";

/** Return the bytes of a size as the API takes it, `32G`; null if it is none. */
export function bytesOf(text: string): number | null {
  const found = /^([1-9][0-9]{0,16})$|^([1-9][0-9]{0,5})([KMGT])$/.exec(text);
  if (!found) return null;
  const size = found[1] ? Number(found[1]) : Number(found[2]) * 1024 ** (POWERS.indexOf(found[3] ?? "") + 1);
  return Math.ceil(size / 1048576) * 1048576;
}

/** Return a name if it can stand in a command that somebody pastes, else the word for it. */
export function plain(name: string, word: string): string {
  return /^[A-Za-z0-9_][A-Za-z0-9._:+-]*$/.test(name) ? name : word;
}

export const known = new Known();
