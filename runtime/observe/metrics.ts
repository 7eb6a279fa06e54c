/**
 * Counters and gauges of a node. Writing one is an addition on a plain object, because some are on the path of every
 * message; turning them into Prometheus text happens only when somebody asks.
 */
export class Counter {
  value = 0;
  add(by = 1): void {
    this.value += by;
  }
}

interface Family {
  name: string;
  help: string;
  type: "counter" | "gauge";
  series: Map<string, Counter | (() => number)>;
}

/** All metrics of a node, by name and label set. */
export class Metrics {
  readonly #families = new Map<string, Family>();

  /** The counter `name` with `labels`; made at first use. Names follow Prometheus: `troupe_..._total`. */
  counter(name: string, help: string, labels: Readonly<Record<string, string>> = {}): Counter {
    const family = this.#family(name, help, "counter");
    const key = labelText(labels);
    const found = family.series.get(key);
    if (found instanceof Counter) return found;
    const counter = new Counter();
    family.series.set(key, counter);
    return counter;
  }

  /** Adds to a counter that is named with its labels, as they stand in the text: `name` or `name{reason="full"}`. */
  add(series: string, help: string, by: number): void {
    const brace = series.indexOf("{");
    const family = this.#family(brace < 0 ? series : series.slice(0, brace), help, "counter");
    const labels = brace < 0 ? "" : series.slice(brace);
    const found = family.series.get(labels);
    if (found instanceof Counter) return found.add(by);
    const counter = new Counter();
    counter.add(by);
    family.series.set(labels, counter);
  }

  /** A value read when somebody asks. */
  gauge(name: string, help: string, read: () => number, labels: Readonly<Record<string, string>> = {}): void {
    this.#family(name, help, "gauge").series.set(labelText(labels), read);
  }

  /** Prometheus text exposition format 0.0.4. */
  text(): string {
    const lines: string[] = [];
    for (const { name, help, type, series } of this.#families.values()) {
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
      for (const [labels, value] of series) {
        lines.push(`${name}${labels} ${value instanceof Counter ? value.value : value()}`);
      }
    }
    return `${lines.join("\n")}\n`;
  }

  #family(name: string, help: string, type: Family["type"]): Family {
    let family = this.#families.get(name);
    if (family === undefined) {
      family = { name, help, type, series: new Map() };
      this.#families.set(name, family);
    }
    return family;
  }
}

function labelText(labels: Readonly<Record<string, string>>): string {
  const entries = Object.entries(labels);
  if (entries.length === 0) return "";
  const escaped = entries.map(
    ([name, value]) => `${name}="${value.replace(/[\\"\n]/g, (c) => (c === "\n" ? "\\n" : `\\${c}`))}"`,
  );
  return `{${escaped.join(",")}}`;
}
