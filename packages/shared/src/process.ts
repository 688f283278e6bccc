// The body of every main.ts.
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import type { ConfigError } from './config.ts';
import { describeError } from './telemetry/describe-error.ts';

interface Running {
  close(): Promise<void>;
}

/**
 * Lets V8 collect before the heap has grown by more than half of what lives in it: a service whose 35 MB live holds
 * some 290 MB under full load instead of 390, for a few percent more CPU. The gateway would pay more, and does not.
 */
export function keepHeapSmall(): void {
  setFlagsFromString('--heap-growing-percent=50');
}

/** Somebody who is waiting for a database, say, ends without it; somebody about to be done is done a moment later. */
const startingGraceMs = 1_000;

/**
 * With the argument `--check` it does nothing: everything that the process runs has been loaded by then, so a missing
 * file has failed already, and nothing of the environment was needed. Images are built with it.
 * Else it starts, and stops on SIGTERM or SIGINT at any time (a second signal ends at once). What cannot start says why in
 * one plain message and exits with 1.
 */
export async function runProcess(name: string, start: () => Promise<Running>): Promise<void> {
  if (process.argv.includes('--check')) return;
  let stopping = false;
  const starting = start();
  const stop = async (): Promise<void> => {
    if (stopping) process.exit(1);
    stopping = true;
    const running = await Promise.race([starting, sleep(startingGraceMs)]).catch(() => undefined);
    await running?.close();
    process.exit(0);
  };
  process.on('SIGTERM', () => void stop());
  process.on('SIGINT', () => void stop());
  try {
    await starting;
  } catch (error) {
    process.stderr.write(`The ${name} cannot start. ${explain(error)}\n`);
    process.exit(1);
  }
}

/** By SQLSTATE or system code. */
const reasons: Record<string, string> = {
  '28P01': 'The database refuses the user or the password of DATABASE_URL.',
  '28000': 'The database refuses the user of DATABASE_URL.',
  '3D000': 'The database named by DATABASE_URL does not exist.',
  ECONNREFUSED: 'The database of DATABASE_URL cannot be reached: nobody listens there.',
  ENOTFOUND: 'The database of DATABASE_URL cannot be reached: its host is not known.',
};

function explain(error: unknown): string {
  const { name, message, code, port } = error as { name?: string; message?: string; code?: string; port?: number };
  if (name === ('ConfigError' satisfies ConfigError['name'])) return String(message);
  if (code === 'EADDRINUSE') return `PORT ${port} is taken: set PORT to a free one.`;
  return reasons[String(code)] ?? JSON.stringify(describeError(error));
}
