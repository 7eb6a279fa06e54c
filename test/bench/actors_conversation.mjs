/**
 * A process of the actor benchmark answers questions: one JSON document per line in, one per line out. Whatever its
 * libraries print goes to standard error, so that an answer is never mistaken.
 */
import { createInterface } from "node:readline";

console.log = console.info = console.debug = console.error;

/** `answers`: by the question's `ask`. Answers one after the other; a failure is answered as `{ error }`. */
export async function converse(answers) {
  for await (const line of createInterface({ input: process.stdin })) {
    let answer;
    try {
      const { ask, ...question } = JSON.parse(line);
      answer = (await answers[ask](question)) ?? {};
    } catch (error) {
      answer = { error: String(error?.stack ?? error) };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
  process.exit(0);
}
