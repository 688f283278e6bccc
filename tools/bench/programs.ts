// The programs that the bench needs and Node does not bring: where they are, their versions, and their installation.
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, globSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { aptInstall, canAptInstall } from '../../local/apt.ts';

const run = promisify(execFile);

/** @returns the program's path, or undefined. Looks in /usr/sbin too, which Debian leaves out of a user's PATH. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/bin'];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

/** PGBENCH if set, else the program in Debian's own folder: the one in the PATH is a script that starts more slowly. */
export function findPgbench(): string | undefined {
  if (process.env.PGBENCH) return process.env.PGBENCH;
  return globSync('/usr/lib/postgresql/*/bin/pgbench').toSorted().at(-1) ?? findProgram('pgbench');
}

/** Installs what is missing, as root on Debian and Ubuntu. Elsewhere the report says what could not be measured. */
export async function installMissing(say: (line: string) => void): Promise<void> {
  const packages = [
    ...(findProgram('wrk') ? [] : ['wrk']),
    ...(findProgram('nginx') ? [] : ['nginx-light']),
    ...(findPgbench() ? [] : ['postgresql']),
  ];
  if (packages.length === 0 || !canAptInstall()) return;
  await aptInstall(packages, say).catch((error: Error) => say(error.message));
}

export function versionOf(program: string, args: readonly string[]): string {
  const path = findProgram(program);
  if (!path) return 'not installed';
  const versionIn = (text: string): string => /\d+(\.\d+)+/.exec(text)?.[0] ?? 'unknown';
  try {
    return versionIn(execFileSync(path, [...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }));
  } catch (error) {
    // wrk prints its version and exits with 1.
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    return versionIn(stdout + stderr);
  }
}

/** Runs a program to its end, on one core if `core` is given and taskset is installed. */
export function runPinned(core: number | undefined, command: string, args: readonly string[]) {
  const taskset = core === undefined ? undefined : findProgram('taskset');
  return taskset
    ? run(taskset, ['-c', String(core), command, ...args], { maxBuffer: 10_000_000 })
    : run(command, [...args], { maxBuffer: 10_000_000 });
}
