/**
 * The one suite that every kind of coordinator passes. A new kind is proven by handing it a way to make empty stores.
 */
import { directoryContract } from "./directory_contract.ts";
import { membershipContract } from "./membership_contract.ts";
import { orphansContract } from "./orphans_contract.ts";
import { primitivesContract } from "./primitives_contract.ts";
import { remindersContract } from "./reminders_contract.ts";
import type { MakeStore } from "./store.ts";

export function coordinatorContract(name: string, makeStore: MakeStore): void {
  membershipContract(name, makeStore);
  directoryContract(name, makeStore);
  remindersContract(name, makeStore);
  orphansContract(name, makeStore);
  primitivesContract(name, makeStore);
}
