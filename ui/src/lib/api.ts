/**
 * The agent's API, typed by its own documentation (`schema.d.ts` is made from `openapi.json`).
 *
 * Addresses are relative to the page: `get("/nodes/{node}/disks/multipath", { path: { node } })`.
 */
import type { components, paths } from "./schema";
import { texts } from "./texts";

export type Schema = components["schemas"];
type Method = "get" | "post" | "put" | "delete";
/** The paths of the API that have this method. */
type PathsOf<M extends Method> = {
  [P in keyof paths]: paths[P] extends Record<M, { responses: unknown }> ? P : never;
}[keyof paths];
type Operation<P extends keyof paths, M extends Method> = paths[P][M];
type Data<O> = O extends { responses: { 200: { content: { "application/json": { data: infer D } } } } } ? D : unknown;
type Body<O> = O extends { requestBody?: { content: { "application/json": infer B } } } ? B : never;

/** What a call needs besides its path. `seconds`: the deadline; `signal`: whoever does not want it any more. */
export interface Asked<B = never> {
  path?: Record<string, string>;
  query?: Record<string, string | number | boolean | readonly string[] | undefined>;
  body?: B;
  headers?: Record<string, string>;
  seconds?: number;
  signal?: AbortSignal;
}

/** Why there is no answer. `status` 0: nobody answered; `errors`: what is wrong with which parameter; `code`: which error. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly errors: Record<string, string> = {},
    readonly code = "",
  ) {
    super(message);
  }
}

const DEADLINE_SECONDS = 15;
let csrf: string | null = null;
let refused: () => void = () => {};

/** Take what each change must carry, and what to do when the session is over. */
export function configure(next: { csrf?: string | null; refused?: () => void }): void {
  if (next.csrf !== undefined) csrf = next.csrf;
  if (next.refused) refused = next.refused;
}

export function get<P extends PathsOf<"get">>(path: P, asked: Asked = {}): Promise<Data<Operation<P, "get">>> {
  return ask("GET", path, asked) as Promise<Data<Operation<P, "get">>>;
}

export function post<P extends PathsOf<"post">>(
  path: P,
  asked: Asked<Body<Operation<P, "post">>> = {},
): Promise<Data<Operation<P, "post">>> {
  return ask("POST", path, asked) as Promise<Data<Operation<P, "post">>>;
}

export function put<P extends PathsOf<"put">>(
  path: P,
  asked: Asked<Body<Operation<P, "put">>> = {},
): Promise<Data<Operation<P, "put">>> {
  return ask("PUT", path, asked) as Promise<Data<Operation<P, "put">>>;
}

export function del<P extends PathsOf<"delete">>(
  path: P,
  asked: Asked<Body<Operation<P, "delete">>> = {},
): Promise<Data<Operation<P, "delete">>> {
  return ask("DELETE", path, asked) as Promise<Data<Operation<P, "delete">>>;
}

/** Return the address of a path of the API. */
export function address(path: string, asked: Pick<Asked, "path" | "query"> = {}): string {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(asked.path?.[name] ?? ""));
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(asked.query ?? {}))
    if (Array.isArray(value)) for (const each of value as readonly string[]) query.append(name, each);
    else if (value !== undefined) query.set(name, String(value));
  const text = query.toString();
  return `api2/json${filled}${text ? `?${text}` : ""}`;
}

/** Ask, and return the response if it is a good one. Throws ApiError. */
export async function request(method: string, path: string, asked: Asked<unknown> = {}): Promise<Response> {
  const headers = new Headers(asked.headers);
  if (asked.body !== undefined) headers.set("content-type", "application/json");
  if (csrf !== null && method !== "GET") headers.set("x-pathfleet-csrf", csrf);
  const signals = [...(asked.signal ? [asked.signal] : [])];
  if (asked.seconds !== Infinity) signals.push(AbortSignal.timeout((asked.seconds ?? DEADLINE_SECONDS) * 1000));
  let response: Response;
  try {
    response = await fetch(address(path, asked), {
      method,
      headers,
      body: asked.body === undefined ? null : JSON.stringify(asked.body),
      cache: "no-store",
      credentials: "same-origin",
      redirect: "error",
      signal: AbortSignal.any(signals),
    });
  } catch (error) {
    throw new ApiError(0, texts.unreachable(error instanceof Error ? error.message : String(error)));
  }
  if (response.ok) return response;
  if (response.status === 401) refused();
  throw await failure(response);
}

async function ask(method: string, path: string, asked: Asked<unknown>): Promise<unknown> {
  const response = await request(method, path, asked);
  try {
    return ((await response.json()) as { data: unknown }).data;
  } catch (error) {
    throw new ApiError(0, error instanceof Error ? error.message : String(error));
  }
}

async function failure(response: Response): Promise<ApiError> {
  try {
    const said = (await response.json()) as Partial<Schema["Failure"]>;
    return new ApiError(response.status, said.message ?? response.statusText, said.errors, said.code);
  } catch {
    return new ApiError(response.status, `${response.status} ${response.statusText}`);
  }
}
