/**
 * Who the caller is, while no identity is configured: the hash of the credential it presents, else `anonymous`. So a
 * session id alone, read from a log or a proxy, opens nothing: another credential, or none, is another principal.
 */
import { createHash } from "node:crypto";
import type { Principal } from "../../actors/session/contract.ts";

export const ANONYMOUS: Principal = "anonymous";

/** Hashes kept, so that a client's every request does not hash again; the longest unused one goes first. */
const MEMO_ENTRIES = 1_024;
/** A longer header is hashed every time: the memo holds at most 4 MiB. */
const MEMO_HEADER_LENGTH = 2_048;

export class Principals {
  /** In order of use, oldest first. */
  readonly #memo = new Map<string, Principal>();
  /** The newest entry: one client often asks many times in a row. */
  #lastHeader = "";
  #lastPrincipal: Principal = ANONYMOUS;

  /** The principal of a request with this `Authorization` header. */
  of(authorization: string | undefined): Principal {
    if (authorization === undefined) return ANONYMOUS;
    if (authorization === this.#lastHeader) return this.#lastPrincipal;
    const principal = this.#find(authorization);
    this.#lastHeader = authorization;
    this.#lastPrincipal = principal;
    return principal;
  }

  #find(authorization: string): Principal {
    const known = this.#memo.get(authorization);
    if (known !== undefined) {
      this.#memo.delete(authorization);
      this.#memo.set(authorization, known);
      return known;
    }
    const principal = principalOf(authorization);
    if (authorization.length <= MEMO_HEADER_LENGTH) {
      this.#memo.set(authorization, principal);
      if (this.#memo.size > MEMO_ENTRIES) this.#memo.delete(this.#memo.keys().next().value ?? "");
    }
    return principal;
  }

  /** Entries in the memo. */
  get size(): number {
    return this.#memo.size;
  }
}

/** The scheme is part of the credential, without regard to case (RFC 9110, section 11.1). */
function principalOf(authorization: string): Principal {
  const match = /^(\S+)\s+(.+)$/.exec(authorization.trim());
  const credential = match === null ? authorization.trim() : `${match[1]?.toLowerCase()} ${match[2]}`;
  if (credential === "") return ANONYMOUS;
  return `credential:${createHash("sha256").update(credential).digest("base64url").slice(0, 24)}`;
}
