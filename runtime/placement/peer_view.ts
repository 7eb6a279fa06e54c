/**
 * Whom this node keeps links and routes to: the living of the view, and for one lease after a reset of the store also those
 * who lived in the view before and whom the new one does not name at all.
 *
 * A store that came back empty names nobody until each has come back to it. Those who have not yet are as alive as before,
 * and to drop their links would fail the calls that are on their way. Whoever the new view names, also as dead, it decides about.
 */
import type { Clock } from "../actor/clock.ts";
import type { Member, MembershipView } from "../coordinator/contract.ts";

export class PeerView {
  readonly #clock: Clock;
  readonly #keepMs: number;
  readonly #changed: (members: readonly Member[]) => void;
  #view: MembershipView | undefined;
  #kept: readonly Member[] = [];
  #last: readonly Member[] = [];
  #cancel: () => void = () => {};

  /** `keepMs`: after which a living node would have come back to the store, or be declared dead. */
  constructor(clock: Clock, keepMs: number, changed: (members: readonly Member[]) => void) {
    this.#clock = clock;
    this.#keepMs = keepMs;
    this.#changed = changed;
  }

  /** Calls `changed` with whom to keep, now and once more when what is kept over a reset is given up. */
  read(view: MembershipView): void {
    if (this.#view !== undefined && view.generation !== this.#view.generation) {
      this.#kept = this.#last;
      this.#cancel();
      this.#cancel = this.#clock.after(this.#keepMs, () => {
        this.#kept = [];
        this.#tell();
      });
    }
    this.#view = view;
    this.#tell();
  }

  #tell(): void {
    const members = this.#view?.members ?? [];
    const named = new Set(members.map(({ incarnation }) => incarnation));
    this.#last = [
      ...members.filter(({ liveness }) => liveness === "alive"),
      ...this.#kept.filter(({ incarnation }) => !named.has(incarnation)),
    ];
    this.#changed(this.#last);
  }
}
