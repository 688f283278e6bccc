// The operating system's account that a server process runs as, and the files that this account needs. PostgreSQL
// refuses to run as root and RabbitMQ should not: root starts them as an account that exists. No account is created.
import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** Without ids: the account of this process. */
export interface Account {
  name: string;
  uid?: number;
  gid?: number;
}

export const isRoot = process.getuid?.() === 0;

/**
 * For root the first of `names` that exists, for every other user the user's own account.
 * @throws Error for root when none of `names` exists
 */
export function unprivilegedAccount(names: readonly string[]): Account {
  if (!isRoot) return { name: 'the current user' };
  const known = readAccounts();
  for (const name of names) {
    const account = known.find((one) => one.name === name);
    if (account) return account;
  }
  throw new Error(
    `None of the accounts ${names.join(', ')} exists on this machine, and the server must not run as root. ` +
      'Create one of them, or start as another user than root',
  );
}

/** The account that owns `path`, so that root runs a server as the owner of its data; undefined when that is root. */
export function ownerOf(path: string): Account | undefined {
  const { uid, gid } = statSync(path);
  if (!isRoot || uid === 0) return undefined;
  return readAccounts().find((one) => one.uid === uid) ?? { name: `user ${uid}`, uid, gid };
}

function readAccounts(): Required<Account>[] {
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n');
  return lines.map((line) => {
    const [name = '', , uid, gid] = line.split(':');
    return { name, uid: Number(uid) >>> 0, gid: Number(gid) >>> 0 }; // macOS writes -2 for the account "nobody"
  });
}

/** Whether the account can read and enter the folder. Tried out as that account: mode bits do not include ACLs and mounts. */
export function canEnter(account: Account, folder: string): boolean {
  if (account.uid === undefined) return true;
  const { status } = spawnSync('/bin/sh', ['-c', 'test -r "$1" && test -x "$1" && cd "$1"', 'sh', folder], {
    ...asAccount(account),
    cwd: '/',
    stdio: 'ignore',
  });
  return status === 0;
}

/** Options of `spawn` that run a process as the account. */
export function asAccount({ uid, gid }: Account): { uid?: number; gid?: number } {
  return { ...(uid !== undefined && { uid }), ...(gid !== undefined && { gid }) };
}

/** Creates the folder if it is missing. Every account can enter the folders that were created, whatever the umask. */
export function makeTraversableFolder(folder: string): void {
  const first = mkdirSync(folder, { recursive: true });
  if (first === undefined) return;
  for (let path = folder; path.length >= first.length; path = dirname(path)) chmodSync(path, 0o755);
}

/** Deletes `folder` with its content and creates it empty, for the account alone. */
export function makePrivateFolder(folder: string, account: Account): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  changeOwner(account, folder);
}

/** Writes a file that only the account can read. */
export function writePrivateFile(path: string, content: string, account: Account): void {
  writeFileSync(path, content, { mode: 0o600 });
  changeOwner(account, path);
}

export function changeOwner({ uid, gid }: Account, path: string): void {
  if (uid !== undefined && gid !== undefined) chownSync(path, uid, gid);
}

/**
 * Starts a server in a session of its own. Ctrl-C in the terminal then reaches only this process, which stops the
 * server in order.
 * @throws Error when the start is impossible, for example when the account may not execute the file
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

/** @returns whether the process has ended within `timeoutMs` */
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
