/** `npm run example:extension`: a node with an actor of its own, called and watched from the program that started it. */
import { ConfigError, startNode, TroupeError } from "../../runtime/index.ts";
import { AccountActor } from "./account.ts";

try {
  const node = await startNode({
    gateway: { server: { bind_address: "127.0.0.1:0" } },
    extensions: [new URL("./account.ts", import.meta.url)],
  });
  const account = node.actor(AccountActor, "ada");

  const watching = (async () => {
    for await (const balance of account.watch()) {
      console.log(`balance ${balance}`);
      if (balance === 70) break;
    }
  })();

  await account.deposit(100);
  // The same request twice takes effect once, also if the node that ran it died in between.
  const transfer = account.with({ delivery: "durable", requestId: "transfer-7", timeoutMs: 5_000 });
  await transfer.withdraw(30);
  await transfer.withdraw(30);
  await watching;

  await account.withdraw(1_000).catch((error: unknown) => {
    if (!TroupeError.is(error)) throw error;
    console.log(`refused: ${error.code}, started ${error.started}: ${error.message}`);
  });
  await account.deposit(-1).catch((error: unknown) => {
    if (!TroupeError.is(error)) throw error;
    console.log(`refused: ${error.code}, started ${error.started}: ${error.message}`);
  });

  await node.drain();
} catch (error) {
  console.error(error instanceof ConfigError ? error.message : error);
  process.exitCode = 1;
}
