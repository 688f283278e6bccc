// One mesh per data folder: the lock names the process that has it. A lock whose process is gone (kill -9, a reboot)
// is taken over.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { commandOf } from './processes.ts';

/** @returns how to give it back, or the number of the process that has it */
export function acquireLock(path: string): { release(): void } | { heldBy: number } {
  for (;;) {
    try {
      writeFileSync(path, `${process.pid}\n`, { flag: 'wx' });
      return { release: () => rmSync(path, { force: true }) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const holder = holderOf(path);
    if (holder !== process.pid && isStack(commandOf(holder))) return { heldBy: holder };
    rmSync(path, { force: true });
  }
}

function holderOf(path: string): number {
  try {
    return Number(readFileSync(path, 'utf8')) || 0;
  } catch {
    return 0; // given back since
  }
}

/** Windows tells the program only. */
function isStack(command: string): boolean {
  return command.includes(process.platform === 'win32' ? 'node' : 'start.ts');
}
