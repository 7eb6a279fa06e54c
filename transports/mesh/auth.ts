/**
 * The cryptography of a link: proofs of the shared secret, and sealed frames.
 *
 * A proof is HMAC-SHA256 over a role and the transcript, which is every byte both sides said before: both nonces, node
 * ids, incarnations, the generation, the version range. So a proof is worth nothing in another handshake (replay), from
 * the other side (reflection), for another peer, or after somebody changed what was negotiated (downgrade). The secret
 * itself never crosses the wire; whoever impersonates a listener can record a dialer's proof and guess at the secret
 * offline, which is why secrets have a minimum length off loopback.
 *
 * Sealed frames are AES-256-GCM under a key per direction and socket, derived from the secret and the transcript, with a
 * counter as nonce that is not sent: frames that were changed, dropped, repeated or reordered do not open. GCM rather than
 * a plain MAC because it costs the same few microseconds per frame here and also keeps tool arguments private, and
 * because no byte that a user chose then shows on the wire, so WebSocket masking protects nobody (see `socket.ts`).
 */
import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync, timingSafeEqual } from "node:crypto";

export type Role = "dialer" | "listener";

export const NONCE_BYTES = 32;
const TAG_BYTES = 16;

/** The key for proofs. No secret gives a key too, one that everybody knows: fit for loopback only. */
export function authenticationKey(secret: string | undefined): Buffer {
  return Buffer.from(hkdfSync("sha256", secret ?? "", "troupe-mesh", "authentication", 32));
}

/** The texts of a handshake as one value; lengths keep texts from running into each other. */
export function transcript(...texts: readonly string[]): Buffer {
  const hash = createHash("sha256");
  for (const text of texts) {
    const length = Buffer.allocUnsafe(4);
    length.writeUInt32BE(Buffer.byteLength(text));
    hash.update(length).update(text);
  }
  return hash.digest();
}

/** The proof, as base64, that `role` knows the key. */
export function prove(key: Buffer, role: Role, said: Buffer): string {
  return createHmac("sha256", key).update(`troupe-mesh ${role}\0`).update(said).digest("base64");
}

/** Whether `proof` is the one of `role`. Takes the same time whatever it is. */
export function proves(key: Buffer, role: Role, said: Buffer, proof: string): boolean {
  const expected = Buffer.from(prove(key, role, said));
  const given = Buffer.from(proof);
  return given.length === expected.length && timingSafeEqual(given, expected);
}

/** Seals what one side sends and opens what the other sent. Frames must pass in order. */
export class FrameCipher {
  readonly #seal: Buffer;
  readonly #open: Buffer;
  readonly #sealNonce = Buffer.alloc(12);
  readonly #openNonce = Buffer.alloc(12);
  #sealed = 0n;
  #opened = 0n;

  /** For one socket: the key for proofs, who we are, and what both sides said. */
  constructor(key: Buffer, role: Role, said: Buffer) {
    const derive = (of: Role) => Buffer.from(hkdfSync("sha256", key, said, `frames of the ${of}`, 32));
    this.#seal = derive(role);
    this.#open = derive(role === "dialer" ? "listener" : "dialer");
  }

  seal(frame: Uint8Array): Buffer {
    this.#sealNonce.writeBigUInt64BE(this.#sealed++, 4);
    const cipher = createCipheriv("aes-256-gcm", this.#seal, this.#sealNonce);
    const body = cipher.update(frame);
    cipher.final();
    return Buffer.concat([body, cipher.getAuthTag()], body.length + TAG_BYTES);
  }

  /** The frame, or null when it is not the next one the peer sealed. */
  open(sealed: Buffer): Buffer | null {
    if (sealed.length < TAG_BYTES) return null;
    this.#openNonce.writeBigUInt64BE(this.#opened++, 4);
    const decipher = createDecipheriv("aes-256-gcm", this.#open, this.#openNonce, { authTagLength: TAG_BYTES });
    decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
    const body = decipher.update(sealed.subarray(0, sealed.length - TAG_BYTES));
    try {
      decipher.final();
    } catch {
      return null;
    }
    return body;
  }
}
