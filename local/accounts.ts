// Which account a server process runs as, and whether that account can reach a path. PostgreSQL and RabbitMQ refuse
// root or should not have it, so root hands them to an account that exists already; no account is ever created.
import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** `undefined` ids: as oneself. */
export interface Account {
  name: string;
  uid?: number;
  gid?: number;
}

export const isRoot = process.getuid?.() === 0;

/** The first of `names` that exists, for root; anybody else stays who they are. */
export function unprivilegedAccount(names: readonly string[]): Account {
  if (!isRoot) return { name: 'the current user' };
  const known = accounts();
  for (const name of names) {
    const account = known.find((one) => one.name === name);
    if (account) return account;
  }
  throw new Error(`None of the accounts ${names.join(', ')} exists here, and root must not run this server itself`);
}

/** Root runs a server as the owner of the data it finds. */
export function ownerOf(path: string): Account | undefined {
  const { uid, gid } = statSync(path);
  if (!isRoot || uid === 0) return undefined;
  return accounts().find((one) => one.uid === uid) ?? { name: `user ${uid}`, uid, gid };
}

function accounts(): Required<Account>[] {
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n');
  return lines.map((line) => {
    const [name = '', , uid, gid] = line.split(':');
    return { name, uid: Number(uid) >>> 0, gid: Number(gid) >>> 0 }; // macOS writes nobody's as -2
  });
}

/** Asks the system instead of computing it from mode bits, which know nothing of ACLs or mounts. */
export function canEnter(account: Account, folder: string): boolean {
  if (account.uid === undefined) return true;
  const { status } = spawnSync('/bin/sh', ['-c', 'test -r "$1" && test -x "$1" && cd "$1"', 'sh', folder], {
    ...asAccount(account),
    cwd: '/',
    stdio: 'ignore',
  });
  return status === 0;
}

export function asAccount({ uid, gid }: Account): { uid?: number; gid?: number } {
  return { ...(uid !== undefined && { uid }), ...(gid !== undefined && { gid }) };
}

/** Makes the folder if it is missing, and then open to pass through whatever the umask. */
export function makeTraversableFolder(folder: string): void {
  const first = mkdirSync(folder, { recursive: true });
  if (first === undefined) return;
  for (let path = folder; path.length >= first.length; path = dirname(path)) chmodSync(path, 0o755);
}

/** Makes `folder` anew, for the account alone. */
export function makePrivateFolder(folder: string, account: Account): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  changeOwner(account, folder);
}

/** Writes a file that only the account reads. */
export function writePrivateFile(path: string, content: string, account: Account): void {
  writeFileSync(path, content, { mode: 0o600 });
  changeOwner(account, path);
}

function changeOwner({ uid, gid }: Account, path: string): void {
  if (uid !== undefined && gid !== undefined) chownSync(path, uid, gid);
}

/**
 * Starts a server in a session of its own, so that the terminal's Ctrl-C reaches only us and we stop it in order.
 * @throws what made the start impossible, such as a file that the account may not execute
 */
export async function spawnServer(command: string, args: string[], options: SpawnOptions): Promise<ChildProcess> {
  const child = spawn(command, args, { detached: true, ...options });
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', reject);
  });
  child.unref();
  return child;
}

/** @returns whether the process ended within `timeoutMs` */
export function waitForExit(child: ChildProcess, timeoutMs: number): Promise<boolean> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(true);
  return new Promise((resolve) => {
    const onExit = () => {
      clearTimeout(timer);
      resolve(true);
    };
    const timer = setTimeout(() => {
      child.off('exit', onExit);
      resolve(false);
    }, timeoutMs);
    child.once('exit', onExit);
  });
}
