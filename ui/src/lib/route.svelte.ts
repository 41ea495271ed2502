/**
 * Where the page is: `#/cluster?lun=WWID&node=NAME`. After the hash, as the page may be below any path, and as what
 * stands there never leaves the browser.
 */
class Route {
  #hash = $state(location.hash);
  /** The parts of the path: `["nodes", "pve1"]`. */
  parts = $derived(parse(this.#hash).parts);
  query = $derived(parse(this.#hash).query);

  constructor() {
    addEventListener("hashchange", () => (this.#hash = location.hash));
  }

  /** Change the query, without a step in the history; undefined or "" takes a name out. */
  set(changes: Record<string, string | undefined>): void {
    const query = new URLSearchParams(this.query);
    for (const [name, value] of Object.entries(changes)) {
      if (value) query.set(name, value);
      else query.delete(name);
    }
    this.#replace(link(this.parts, Object.fromEntries(query)));
  }

  #replace(hash: string): void {
    if (hash === location.hash) return;
    history.replaceState(null, "", hash);
    this.#hash = hash;
  }
}

/** Return the address of a place on the page, for `href`. */
export function link(parts: string[], query: Record<string, string> = {}): string {
  const text = new URLSearchParams(query).toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

function parse(hash: string): { parts: string[]; query: URLSearchParams } {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  return { parts: path.split("/").filter(Boolean).map(decoded), query: new URLSearchParams(query) };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export const route = new Route();
