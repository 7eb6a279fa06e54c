/**
 * Which upstream a resource URI belongs to, where several stand behind one endpoint. URIs are not rewritten (they appear
 * inside results and in people's notes), so ownership is remembered from lists and templates. Bounded: the URI that was
 * not seen or asked for the longest is forgotten; it is then found by asking the upstreams in order.
 */
const MAX_URIS = 4_096;
const MAX_TEMPLATES = 256;

export class ResourceOwners {
  readonly #uris = new Map<string, string>();
  #templates: { template: string; parts: string[]; upstream: string }[] = [];

  learn(uri: string, upstream: string): void {
    this.#uris.delete(uri);
    this.#uris.set(uri, upstream);
    if (this.#uris.size <= MAX_URIS) return;
    for (const oldest of this.#uris.keys()) {
      this.#uris.delete(oldest);
      return;
    }
  }

  learnTemplate(template: string, upstream: string): void {
    if (this.#templates.length >= MAX_TEMPLATES) return;
    if (this.#templates.some((known) => known.template === template)) return;
    this.#templates.push({ template, parts: fixedParts(template), upstream });
  }

  /** The upstream of a URI, or of a template itself; undefined when nothing is known. */
  owner(uri: string): string | undefined {
    const known = this.#uris.get(uri);
    if (known !== undefined) return known;
    const fits = this.#templates.find(({ template, parts }) => template === uri || matches(uri, parts));
    return fits?.upstream;
  }

  /** Forgets what `upstream` owned: its lists changed. */
  forget(upstream: string): void {
    for (const [uri, owner] of this.#uris) if (owner === upstream) this.#uris.delete(uri);
    this.#templates = this.#templates.filter((known) => known.upstream !== upstream);
  }
}

/** The fixed parts of an RFC 6570 template; each expression between them may stand for any text. */
function fixedParts(template: string): string[] {
  return template.split(/\{[^{}]*\}/);
}

/** Whether the parts occur in `uri` in order, the first at its beginning and the last at its end. Linear, as it must be. */
function matches(uri: string, parts: readonly string[]): boolean {
  const first = parts[0] ?? "";
  const last = parts.at(-1) ?? "";
  if (parts.length === 1) return uri === first;
  if (!uri.startsWith(first) || !uri.endsWith(last)) return false;
  let at = first.length;
  for (const part of parts.slice(1, -1)) {
    const found = uri.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return at <= uri.length - last.length;
}
