/**
 * Certificates of the mesh, read once when it starts.
 */
import { readFile } from "node:fs/promises";
import type { MeshTls } from "./options.ts";

export interface TlsMaterial {
  /** For the listener. With an authority it demands a certificate of it from whoever dials. */
  listen: { cert: Buffer; key: Buffer; ca?: Buffer; requestCert?: boolean; rejectUnauthorized?: boolean };
  /** For dialing. Without an authority the system's own are trusted. */
  dial: { cert: Buffer; key: Buffer; ca?: Buffer };
}

/** Throws an `Error` that names the key and the file that cannot be read. */
export async function readTls(tls: MeshTls): Promise<TlsMaterial> {
  const [cert, key, ca] = await Promise.all([
    read("cert_path", tls.cert_path),
    read("key_path", tls.key_path),
    tls.ca_path === undefined ? undefined : read("ca_path", tls.ca_path),
  ]);
  if (ca === undefined) return { listen: { cert, key }, dial: { cert, key } };
  return {
    listen: { cert, key, ca, requestCert: true, rejectUnauthorized: true },
    dial: { cert, key, ca },
  };
}

async function read(name: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new Error(`mesh.tls.${name}: cannot read "${path}": ${error instanceof Error ? error.message : error}`);
  }
}
