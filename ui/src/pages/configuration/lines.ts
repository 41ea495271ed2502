/** Two texts, compared line by line, as a unified difference. */
const CONTEXT = 3;
/** Beyond so many comparisons the whole middle counts as changed. */
const LIMIT = 4_000_000;

export function difference(before: string, after: string): string[] {
  const [a, b] = [split(before), split(after)];
  let [start, end] = [0, 0];
  while (start < Math.min(a.length, b.length) && a[start] === b[start]) start++;
  while (end < Math.min(a.length, b.length) - start && a.at(-1 - end) === b.at(-1 - end)) end++;
  const middle = compared(a.slice(start, a.length - end), b.slice(start, b.length - end));
  if (!middle.length) return [];
  const same = (lines: string[]) => lines.map((line) => ` ${line}`);
  return [
    ...same(a.slice(Math.max(0, start - CONTEXT), start)),
    ...middle,
    ...same(a.slice(a.length - end, a.length - end + CONTEXT)),
  ];
}

function split(text: string): string[] {
  return text === "" ? [] : text.replace(/\n$/, "").split("\n");
}

/** By the longest common subsequence: `long[i][j]` is its length from there on. */
function compared(a: string[], b: string[]): string[] {
  if (a.length * b.length > LIMIT) return [...a.map((line) => `-${line}`), ...b.map((line) => `+${line}`)];
  const long = Array.from({ length: a.length + 1 }, () => new Uint32Array(b.length + 1));
  const at = (i: number, j: number) => long[i]?.[j] ?? 0;
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      long[i]![j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
  const found: string[] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) [i, j] = [i + 1, (found.push(` ${a[i]}`), j + 1)];
    else if (j >= b.length || (i < a.length && at(i + 1, j) >= at(i, j + 1))) found.push(`-${a[i++]}`);
    else found.push(`+${b[j++]}`);
  }
  return found;
}
