/**
 * The servers that tests and examples talk to. Found on PATH; installed where that can be done without asking (root on
 * Debian or Ubuntu); otherwise named in one sentence.
 */
import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync } from "node:fs";
import { delimiter, join } from "node:path";

/** Executable and the Debian package, which have the same name here. */
export type Server = "redis-server" | "nginx" | "spin";

/** Whether all of `servers` are there now. Says what it installs, or what somebody should. */
export function ensureServers(servers: readonly Server[]): boolean {
  const missing = servers.filter((server) => !onPath(server));
  if (missing.length === 0) return true;
  const names = missing.join(" and ");
  if (!(existsSync("/etc/debian_version") && process.getuid?.() === 0)) {
    console.error(`${names} not found on PATH: install ${missing.length === 1 ? "it" : "them"} with ${hint(missing)}`);
    return false;
  }
  console.log(`${names} not found on PATH, installing: apt-get install ${missing.join(" ")}`);
  // RUNLEVEL=1 keeps the packages from starting services of their own.
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };
  const apt = (...args: string[]): boolean => spawnSync("apt-get", args, { stdio: "inherit", env }).status === 0;
  if (!apt("update", "-q") || !apt("install", "-q", "-y", "--no-install-recommends", ...missing)) {
    console.error(`apt-get could not install ${names}: install ${missing.length === 1 ? "it" : "them"} by hand`);
    return false;
  }
  return missing.every(onPath);
}

function hint(missing: readonly Server[]): string {
  const brew = missing.map((server) => (server === "redis-server" ? "redis" : server)).join(" ");
  if (process.platform === "darwin") return `\`brew install ${brew}\``;
  if (existsSync("/etc/debian_version")) return `\`sudo apt-get install ${missing.join(" ")}\``;
  return `your system's package manager (${brew})`;
}

function onPath(command: string): boolean {
  // Debian keeps daemons in sbin, which is not on every user's PATH.
  const folders = `${process.env.PATH}${delimiter}/usr/sbin${delimiter}/usr/local/sbin`.split(delimiter);
  return folders.some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
