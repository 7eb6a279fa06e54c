/** Aligned columns for a terminal. */

/** One line per row under a line of headings; `none` if there is no row. Absent values show as `-`. */
export function table(headings: readonly string[], rows: readonly (readonly unknown[])[], none: string): string {
  if (rows.length === 0) return `${none}\n`;
  const cells = [headings, ...rows.map((row) => row.map(cellText))];
  const widths = headings.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  return cells
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join("  ")
          .trimEnd()}\n`,
    )
    .join("");
}

/** One `name  value` line per entry; nested values as JSON. */
export function fields(data: Readonly<Record<string, unknown>>): string {
  const width = Math.max(0, ...Object.keys(data).map((name) => name.length));
  return Object.entries(data)
    .map(([name, value]) => `${name.padEnd(width)}  ${cellText(value)}\n`)
    .join("");
}

function cellText(value: unknown): string {
  if (value === undefined || value === null || value === "") return "-";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** Milliseconds as `420 ms`, `12 s`, `5 min`, `3 h`, `2 d`. */
export function duration(ms: unknown): string {
  if (typeof ms !== "number" || !Number.isFinite(ms)) return "-";
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${Math.round(ms / 1_000)} s`;
  if (ms < 3_600_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 86_400_000) return `${Math.round(ms / 3_600_000)} h`;
  return `${Math.round(ms / 86_400_000)} d`;
}
