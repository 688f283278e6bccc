// What the processes themselves have to say: exits that nobody asked for, and errors in their logs.
import { existsSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import type { Check } from './checks.ts';
import type { Mesh } from './mesh.ts';

export function checkProcesses({ exits, logFiles }: Pick<Mesh, 'exits' | 'logFiles'>): Check {
  const breaches = exits.map(
    ({ replica, at, code, signal, why }) =>
      `${replica} ended by itself at ${new Date(at).toISOString()}: code ${code}, signal ${signal}, ${why}`,
  );
  let lines = 0;
  for (const file of logFiles.filter((each) => existsSync(each))) {
    for (const line of readFileSync(file, 'utf8').split('\n')) {
      if (line === '') continue;
      lines += 1;
      if (isTrouble(line)) breaches.push(`${basename(file)}: ${line.slice(0, 500)}`);
    }
  }
  return { promise: 'no process ends by itself or logs an error', looked: `${lines} log lines`, breaches };
}

/** What is not pino's JSON was written by Node itself, on the way down. A line cut off by a SIGKILL is neither. */
function isTrouble(line: string): boolean {
  if (!line.startsWith('{')) return true;
  try {
    const { level } = JSON.parse(line) as { level: unknown };
    return level === 'error' || level === 'fatal' || Number(level) >= 50;
  } catch {
    return false;
  }
}
