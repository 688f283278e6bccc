// One `npm start`, or one backup or restore without it, per data folder: a lock file holds the number of the process that
// uses the folder. The lock of a process that no longer runs (after kill -9 or a reboot) is replaced.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { commandOf } from './processes.ts';

/** @returns a function that releases the lock, or the number of the process that holds it */
export function acquireLock(path: string): { release(): void } | { heldBy: number } {
  for (;;) {
    try {
      writeFileSync(path, `${process.pid}\n`, { flag: 'wx' });
      return { release: () => rmSync(path, { force: true }) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const holder = holderOf(path);
    if (holder !== process.pid && isHolder(commandOf(holder))) return { heldBy: holder };
    rmSync(path, { force: true });
  }
}

function holderOf(path: string): number {
  try {
    return Number(readFileSync(path, 'utf8')) || 0;
  } catch {
    return 0; // released in the meantime
  }
}

/** On Windows only the name of the program is known. */
function isHolder(command: string): boolean {
  return process.platform === 'win32' ? command.includes('node') : /\b(start|backup|restore)\.ts\b/.test(command);
}
