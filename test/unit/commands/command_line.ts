/** Runs `runtime` in this process and collects what it prints. */
import { main } from "../../../runtime/main.ts";

export interface Printed {
  code: number;
  out: string;
  err: string;
}

export async function runtime(...args: string[]): Promise<Printed> {
  const printed = { code: 0, out: "", err: "" };
  printed.code = await main(args, {
    out: (text) => {
      printed.out += text;
    },
    err: (text) => {
      printed.err += text;
    },
  });
  return printed;
}
