/** Numbers and times as an operator reads them. */
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/** 107374182400 -> "100 GiB"; null -> "". */
export function bytes(size: number | null | undefined): string {
  if (size === null || size === undefined) return "";
  let [value, unit] = [size, 0];
  for (; value >= 1024 && unit < UNITS.length - 1; unit++) value /= 1024;
  return `${value >= 100 || Number.isInteger(value) ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

/** Seconds -> "12 s", "5 min", "3 h", "2 d"; a clock that is ahead gives "-5 s". */
export function age(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return "";
  const whole = Math.round(seconds);
  if (Math.abs(whole) < 120) return `${whole} s`;
  if (Math.abs(whole) < 7200) return `${Math.round(whole / 60)} min`;
  return Math.abs(whole) < 172800 ? `${Math.round(whole / 3600)} h` : `${Math.round(whole / 86400)} d`;
}

/** The time of day of milliseconds since the epoch. */
export function time(ms: number): string {
  return new Date(ms).toLocaleTimeString(undefined, { hour12: false });
}

/** A digest, as short as people read it. */
export function short(digest: string | null | undefined): string {
  return (digest ?? "").slice(0, 7);
}
