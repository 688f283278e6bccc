// Checks of the processes: unexpected exits, and what is in their logs.
import { existsSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import type { Check } from './check.ts';
import type { Stack } from './stack.ts';

export function checkProcesses({ exits, logFiles }: Pick<Stack, 'exits' | 'logFiles'>): Check {
  const breaches = exits.map(
    ({ replica, at, code, signal, reason }) =>
      `${replica} ended at ${new Date(at).toISOString()} with code ${code}, signal ${signal}: ${reason}`,
  );
  let lines = 0;
  for (const { file, line } of linesOf(logFiles)) {
    lines += 1;
    if (isError(line)) breaches.push(`${file}: ${line.slice(0, 500)}`);
  }
  return { promise: 'no process ends unexpectedly or logs an error', examined: `${lines} log lines`, breaches };
}

/** For a run without faults. A heartbeat wrongly counted as missed, for example, would end a working connection. */
export function checkBrokerConnections({ logFiles }: Pick<Stack, 'logFiles'>): Check {
  const losses = [...linesOf(logFiles)].filter(({ line }) => isConnectionLoss(line));
  return {
    promise: 'no working connection to RabbitMQ is given up',
    examined: `${logFiles.length} logs`,
    breaches: losses.map(({ file, line }) => `${file}: ${line}`),
  };
}

function* linesOf(files: readonly string[]): Generator<{ file: string; line: string }> {
  for (const path of files.filter((each) => existsSync(each))) {
    for (const line of readFileSync(path, 'utf8').split('\n')) {
      if (line !== '') yield { file: basename(path), line };
    }
  }
}

/** A line that is not pino's JSON was written by Node itself when the process crashed. */
function isError(line: string): boolean {
  if (/^(Debugger attached|Waiting for the debugger)/.test(line)) return false; // a soak uses the inspector
  if (!line.startsWith('{')) return true;
  const level = parseLine(line)?.level;
  return level === 'error' || level === 'fatal' || Number(level) >= 50;
}

/** maintainConnection of shared logs a lost connection as a warning with the connection's name and the reason. */
function isConnectionLoss(line: string): boolean {
  const { level, connection, reason } = parseLine(line) ?? {};
  return level === 'warn' && typeof connection === 'string' && typeof reason === 'string';
}

/** Undefined for a line that is no JSON, such as one that a SIGKILL cut off. */
function parseLine(line: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}
