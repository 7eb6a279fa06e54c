/**
 * Session ids: 24 random bytes as 32 characters of base64url. MCP asks for visible ASCII that cannot be guessed; that an
 * id was not made by us can be seen without asking anybody.
 */
import { randomBytes } from "node:crypto";

const SESSION_ID = /^[A-Za-z0-9_-]{32}$/;

export function newSessionId(): string {
  return randomBytes(24).toString("base64url");
}

/** Whether `value` could be a session's id. */
export function isSessionId(value: string): boolean {
  return SESSION_ID.test(value);
}
