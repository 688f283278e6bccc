// What the processes themselves have to say: exits that nobody asked for, and errors in their logs.
import { existsSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import type { Check } from './checks.ts';
import type { Stack } from './stack.ts';

export function checkProcesses({ exits, logFiles }: Pick<Stack, 'exits' | 'logFiles'>): Check {
  const breaches = exits.map(
    ({ replica, at, code, signal, why }) =>
      `${replica} ended by itself at ${new Date(at).toISOString()}: code ${code}, signal ${signal}, ${why}`,
  );
  let lines = 0;
  for (const { file, line } of linesOf(logFiles)) {
    lines += 1;
    if (isTrouble(line)) breaches.push(`${file}: ${line.slice(0, 500)}`);
  }
  return { promise: 'no process ends by itself or logs an error', looked: `${lines} log lines`, breaches };
}

/** Without faults: a heartbeat that is taken for missing, say, would end a connection that works. */
export function checkLinks({ logFiles }: Pick<Stack, 'logFiles'>): Check {
  const lost = [...linesOf(logFiles)].filter(({ line }) => line.includes('no connection to the broker'));
  return {
    promise: 'no working connection to RabbitMQ is given up',
    looked: `${logFiles.length} logs`,
    breaches: lost.map(({ file, line }) => `${file}: ${line}`),
  };
}

function* linesOf(files: readonly string[]): Generator<{ file: string; line: string }> {
  for (const path of files.filter((each) => existsSync(each))) {
    for (const line of readFileSync(path, 'utf8').split('\n')) {
      if (line !== '') yield { file: basename(path), line };
    }
  }
}

/** What is not pino's JSON was written by Node itself, on the way down. A line cut off by a SIGKILL is neither. */
function isTrouble(line: string): boolean {
  if (/^(Debugger attached|Waiting for the debugger)/.test(line)) return false; // ours, in a soak
  if (!line.startsWith('{')) return true;
  try {
    const { level } = JSON.parse(line) as { level: unknown };
    return level === 'error' || level === 'fatal' || Number(level) >= 50;
  } catch {
    return false;
  }
}
