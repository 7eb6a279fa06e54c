/** Media types in `Accept` and `Content-Type`, as far as MCP asks for them (RFC 9110, sections 8.3 and 12.5.1). */

/** Whether an `Accept` header takes `type` ("application/json"): by name, by range, and not with a weight of zero. */
export function accepts(header: string | undefined, type: string): boolean {
  if (header === undefined) return false;
  const range = `${type.slice(0, type.indexOf("/"))}/*`;
  // The most specific entry decides: the type itself, then its range, then the range of everything.
  let best = 0;
  let taken = false;
  for (const entry of header.split(",")) {
    const semicolon = entry.indexOf(";");
    const name = (semicolon === -1 ? entry : entry.slice(0, semicolon)).trim().toLowerCase();
    const rank = name === type ? 3 : name === range ? 2 : name === "*/*" ? 1 : 0;
    if (rank === 0 || rank < best) continue;
    best = rank;
    taken = semicolon === -1 || !/;\s*q\s*=\s*0(\.0*)?\s*(;|$)/i.test(entry);
  }
  return taken;
}

/** Whether a `Content-Type` header names JSON; parameters are allowed. */
export function isJson(header: string | undefined): boolean {
  if (header === undefined) return false;
  if (header === "application/json") return true;
  const semicolon = header.indexOf(";");
  return (semicolon === -1 ? header : header.slice(0, semicolon)).trim().toLowerCase() === "application/json";
}
