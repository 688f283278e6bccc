// JSON lines on stdout. An allow-list decides what of an error is written: messages of database and parser
// errors quote values (SQL literals, bodies), so only their class, code and stack frames are logged.
import { type DestinationStream, type Logger, pino } from 'pino';

export type { DestinationStream, Logger } from 'pino';

/** Classes whose message is written by our own code or by the runtime about our code, never about data. */
const speakingErrors = new Set(['DomainError', 'ConfigError', 'TypeError', 'ReferenceError', 'AssertionError']);

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
  };
  return destination ? pino(options, destination) : pino(options);
}

/** What may be said of an error in a log line: class, code, constraint, stack frames, and a safe message. */
export function describeError(error: unknown): Record<string, unknown> {
  if (typeof error !== 'object' || error === null) return { type: typeof error };
  const { name, code, constraint, message, stack, syscall, cause } = error as Error & Record<string, unknown>;
  const speaks = (typeof name === 'string' && speakingErrors.has(name)) || typeof syscall === 'string';
  return {
    type: name ?? 'Error',
    ...(code !== undefined && { code }),
    ...(constraint !== undefined && { constraint }),
    ...(speaks && { message }),
    ...(typeof stack === 'string' && { frames: stack.split('\n').filter((line) => line.startsWith('    at ')) }),
    ...(cause !== undefined && { cause: describeError(cause) }),
  };
}
