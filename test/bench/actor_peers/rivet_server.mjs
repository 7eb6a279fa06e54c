/** A RivetKit server as its quickstart has it; in development `start` runs the local engine, found in the package. */
import { actor, setup } from "rivetkit";

const echo = actor({ state: {}, actions: { echo: (_context, text) => text } });
setup({ use: { echo } }).start();
