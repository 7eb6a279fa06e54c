/** Numbers for people: medians, ratios, tables, and what kind of machine they come from. */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";

/** The middle value; the mean of the two middle ones. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const low = sorted[Math.ceil(middle) - 1] ?? Number.NaN;
  const high = sorted[Math.floor(middle)] ?? Number.NaN;
  return (low + high) / 2;
}

/** The smallest value that at least `share` (0 to 1) of the values do not exceed. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

/** `own / other` with two digits, or a dash. */
export function ratio(own: number | undefined, other: number | undefined): string {
  return own === undefined || other === undefined ? "–" : (own / other).toFixed(2);
}

/** A Markdown table with padded columns: the first two left-aligned, numbers right-aligned. */
export function table(head: string[], rows: string[][]): string {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: string[]): string =>
    `| ${cells.map((cell, column) => (column < 2 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join(" | ")} |`;
  const rule = `|${widths.map((width, column) => (column < 2 ? "-".repeat(width + 2) : `${"-".repeat(width + 1)}:`)).join("|")}|`;
  return [line(head), rule, ...rows.map(line)].join("\n");
}

/** The kind of machine, without names. */
export function machine(): string {
  let system: string = process.platform;
  try {
    system = /^PRETTY_NAME="?([^"\n]+)"?$/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? system;
  } catch {
    // Not a Linux with that file.
  }
  return `${availableParallelism()} cores, ${system}, Node.js ${process.versions.node}`;
}
