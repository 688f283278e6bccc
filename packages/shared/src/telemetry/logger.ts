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
