/**
 * Whether a mesh configuration is safe to start. Whoever can join the mesh can call every actor, so a mesh that can be
 * reached from outside this machine must tell members from strangers.
 */
import { isLoopback, parseAddress } from "./address.ts";
import type { MeshTls } from "./options.ts";

/** Characters a secret needs where strangers could record handshakes and guess it at leisure. */
export const MIN_SECRET_LENGTH = 16;

export interface MeshSecurity {
  bindHost: string;
  /** `host` or `host:port`. */
  advertise?: string;
  secret?: string;
  tls?: MeshTls;
}

/** One readable sentence when a mesh must not start like this, else null. */
export function meshSecurityProblem({ bindHost, advertise, secret, tls }: MeshSecurity): string | null {
  const advertised = advertise === undefined || advertise === "" ? null : parseAddress(advertise);
  if (advertise !== undefined && advertise !== "" && advertised === null) {
    return `mesh.advertise_address must be host:port, got "${advertise}".`;
  }
  const open = !isLoopback(bindHost)
    ? `mesh.bind_address is "${bindHost}"`
    : advertised !== null && !isLoopback(advertised.host)
      ? `mesh.advertise_address is "${advertise}"`
      : null;
  if (open === null) return null;
  // A certificate authority makes both sides show a certificate, which tells members from strangers by itself.
  if (tls?.ca_path !== undefined) return null;
  if (secret === undefined || secret === "") {
    const remedy = tls === undefined ? "" : " (mesh.tls without ca_path does not tell who dials)";
    return `${open}, which others can reach, and there is no mesh.secret${remedy}: set mesh.secret on every node, or mesh.tls with ca_path, or bind the mesh to 127.0.0.1.`;
  }
  if (secret.length < MIN_SECRET_LENGTH) {
    return `${open}, which others can reach, and mesh.secret has ${secret.length} characters: use at least ${MIN_SECRET_LENGTH}, for example from "openssl rand -base64 32".`;
  }
  return null;
}
