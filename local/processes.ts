// Identifies a process by its command line. A process number read from a file is not enough: the system gives the number
// of an ended process to another one.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

/** The command line of the process with this number; empty if there is none. */
export function commandOf(pid: number): string {
  if (!isAlive(pid)) return '';
  if (process.platform === 'win32') return outputOf('tasklist', ['/NH', '/FI', `PID eq ${pid}`]);
  if (!existsSync('/proc/self/cmdline')) return outputOf('ps', ['-p', String(pid), '-o', 'command=']);
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
  } catch {
    return ''; // the process ended in the meantime
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function outputOf(command: string, args: string[]): string {
  return String(spawnSync(command, args, { encoding: 'utf8' }).stdout ?? '').trim();
}
