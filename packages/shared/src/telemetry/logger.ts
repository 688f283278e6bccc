// JSON lines on stdout. An allow-list decides which parts of an error are written. Messages of database and parser
// errors quote values (SQL literals, bodies), so only class, code and stack frames of these are logged.
import { type DestinationStream, type LogFn, type Logger, pino } from 'pino';
import { describeError } from './describe-error.ts';

export type { DestinationStream, Logger } from 'pino';

const maxBufferedBytes = 16_777_216;

interface LoggerOptions {
  /** Value of the field `service` in each line. */
  service: string;
  /** The lowest level that is written, or `silent`. */
  level: string;
  /** Default stdout. */
  destination?: DestinationStream;
}

export function createLogger({ service, level, destination }: LoggerOptions): Logger {
  const options = {
    level,
    base: { service },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: describeError },
    hooks: { logMethod: dropImplicitMessage },
  };
  // Writes are asynchronous: lines gather while one write runs, and the rest is written at the exit. A process that is
  // killed loses the gathered lines. A process whose output is not read loses what exceeds `maxBufferedBytes`.
  return pino(options, destination ?? pino.destination({ sync: false, maxLength: maxBufferedBytes }));
}

/** Without a message of its own, pino logs the message of the error. This hook passes an empty message instead. */
function dropImplicitMessage(this: Logger, args: Parameters<LogFn>, method: LogFn): void {
  const [first, message = ''] = args;
  method.apply(this, typeof first === 'object' && args.length < 2 ? [first, message] : args);
}

/** Milliseconds between two lines that say the same. */
const repeatAfterMs = 10_000;
const warnedAt = new WeakMap<Logger, Map<string, number>>();

/**
 * Logs a warning that a loop repeats: at once when its fields are new, and the same at most once in 10 s. `fields` must
 * have few different values, because all of them are remembered as long as the logger.
 */
export function warnRepeatedly(log: Logger, fields: Readonly<Record<string, unknown>>, message: string): void {
  const times = warnedAt.get(log) ?? new Map<string, number>();
  warnedAt.set(log, times);
  const text = message + JSON.stringify(fields);
  const now = performance.now();
  if (now - (times.get(text) ?? Number.NEGATIVE_INFINITY) < repeatAfterMs) return;
  times.set(text, now);
  log.warn(fields, message);
}
