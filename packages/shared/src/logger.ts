// JSON lines on stdout. An allow-list decides what of an error is written: messages of database and parser
// errors quote values (SQL literals, bodies), so only their class, code and stack frames are logged.
import { type DestinationStream, type LogFn, type Logger, pino } from 'pino';
import type { ErrorKind } from './errors.ts';

export type { DestinationStream, Logger } from 'pino';

/** Classes whose message is written by our own code or by the runtime about our code, never about data. */
const speakingErrors = new Set(['DomainError', 'ConfigError', 'TypeError', 'ReferenceError', 'AssertionError']);

/** Bytes. */
const mostWaiting = 16_777_216;

interface LoggerOptions {
  service: string;
  level: string;
  destination?: DestinationStream;
}

export function createLogger({ service, level, destination }: LoggerOptions): Logger {
  const options = {
    level,
    base: { service },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: describeError },
    hooks: { logMethod: keepMessageBack },
  };
  // While one write is under way lines gather for the next; what is left is written at the exit. A process that is killed
  // loses the lines of that moment; so does one whose output nobody reads, beyond `mostWaiting`.
  return pino(options, destination ?? pino.destination({ sync: false, maxLength: mostWaiting }));
}

/** For a line without a message of its own pino takes the error's. */
function keepMessageBack(this: Logger, args: Parameters<LogFn>, method: LogFn): void {
  const [first, message = ''] = args;
  method.apply(this, typeof first === 'object' && args.length < 2 ? [first, message] : args);
}

/** What may be said of an error in a log line: class, code, constraint, stack frames, and a safe message. */
export function describeError(error: unknown, depth = 0, withFrames = true): Record<string, unknown> {
  if (typeof error !== 'object' || error === null) return { type: typeof error };
  const { name, code, kind, constraint, message, stack, syscall, cause } = error as Error & Record<string, unknown>;
  // Thrown on purpose, and while something is away for every request: nobody needs to know again from where.
  const frames = withFrames && kind !== ('unavailable' satisfies ErrorKind);
  const speaks = (typeof name === 'string' && speakingErrors.has(name)) || typeof syscall === 'string';
  return {
    type: name ?? 'Error',
    ...(code !== undefined && { code }),
    ...(constraint !== undefined && { constraint }),
    ...(speaks && { message }),
    ...(frames && typeof stack === 'string' && { frames: framesOf(stack, message) }),
    ...(cause !== undefined && depth < deepestCause && { cause: describeError(cause, depth + 1, frames) }),
  };
}

/** Causes may be tied in a ring. */
const deepestCause = 5;

/** A stack begins with the message (MikroORM's repeats lines of it), and a line of a message can look like a frame. */
function framesOf(stack: string, message: unknown): string[] {
  const said = new Set(String(message).split('\n'));
  return stack.split('\n').filter((line) => line.startsWith('    at ') && !said.has(line));
}
