// The body of every main.ts.
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import type { ConfigError } from './config.ts';
import { explainRefusedConnection, isDatabaseUnavailable } from './database/sqlstate.ts';
import { describeError, summarizeError } from './telemetry/describe-error.ts';

interface Running {
  close(): Promise<void>;
}

/**
 * Lets V8 collect garbage when the heap has grown by half of its live objects. Under full load a service with 35 MB of
 * live objects then takes about 290 MB instead of 390, for a few percent more CPU time. The gateway does not call this:
 * it would cost more there.
 */
export function keepHeapSmall(): void {
  setFlagsFromString('--heap-growing-percent=50');
}

/** How long a stop waits for a start that is about to finish. A start that waits for its database is abandoned then. */
const startGraceMs = 1_000;

/**
 * Starts a process and stops it on SIGTERM or SIGINT, also while it starts. A second signal ends it at once. A process
 * that cannot start prints the reason in one message, and exits with 1.
 * With the argument `--check` the process exits after loading all modules. The image build uses it.
 */
export async function runProcess(name: string, start: () => Promise<Running>): Promise<void> {
  if (process.argv.includes('--check')) return;
  let stopping = false;
  const starting = start();
  const stop = async (): Promise<void> => {
    if (stopping) process.exit(1);
    stopping = true;
    const running = await Promise.race([starting, sleep(startGraceMs)]).catch(() => undefined);
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
const startErrors: Record<string, string> = {
  '28P01': 'The database rejects the user or the password of DATABASE_URL.',
  '28000': 'The database rejects the user of DATABASE_URL.',
  '3D000': 'The database named by DATABASE_URL does not exist.',
  '3F000': 'The schema of this service does not exist in the database of DATABASE_URL: create it by provision.sql.',
  '42501': 'The user of DATABASE_URL lacks a right: the schema of this service must be its own (provision.sql).',
  '53300': 'The database of DATABASE_URL has no free connection: raise max_connections, or run fewer processes.',
  ECONNREFUSED: 'The database of DATABASE_URL cannot be reached: the connection was refused.',
  ENOTFOUND: 'The database of DATABASE_URL cannot be reached: its host is unknown.',
  EAI_AGAIN: 'The database of DATABASE_URL cannot be reached: the name of its host cannot be resolved now.',
};

/** @returns the reason of a failed start in one line: its place and the way out; undefined for an unknown error */
export function explainStartError(error: unknown): string | undefined {
  const place = placeOfSyntaxError(error);
  if (place) return `${place}: ${(error as Error).message}`;
  const { variable = 'DATABASE_URL' } = Object(error) as { variable?: string };
  return explainDatabaseError(error)?.replaceAll('DATABASE_URL', variable);
}

function explainDatabaseError(error: unknown): string | undefined {
  const tls = explainRefusedConnection(error);
  if (tls) return tls;
  const { code, address } = summarizeError(error);
  const where = address === undefined ? '' : ` (${code} ${address})`;
  if (startErrors[String(code)] !== undefined) return startErrors[String(code)] + where;
  if (!isDatabaseUnavailable(error)) return undefined;
  return `The database of DATABASE_URL is not available: ${code ?? 'it does not answer'}${where}.`;
}

/** Of a source file. Node writes it into the first line of the stack, and not into the message. */
function placeOfSyntaxError(error: unknown): string | undefined {
  const { name, stack } = Object(error) as Partial<Error>;
  if (name !== 'SyntaxError') return undefined;
  return /^(?:file:\/\/)?(\/.+:\d+)$/.exec(stack?.split('\n')[0] ?? '')?.[1];
}

/** @returns the reason of a failure of a service or a command, for a person at a terminal; no value */
export function explain(error: unknown): string {
  const { name, message, code, port, variable } = error as Error & { code?: string; port?: number; variable?: string };
  if (name === ('ConfigError' satisfies ConfigError['name'])) return String(message);
  if (code === 'EADDRINUSE') {
    const setting = variable ?? 'PORT';
    return `${setting} ${port} is taken: set ${setting} to a free one.`;
  }
  return explainStartError(error) ?? JSON.stringify(describeError(error));
}
