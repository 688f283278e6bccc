// JSON lines on stdout. An allow-list decides what of an error is written: messages of database and parser
// errors quote values (SQL literals, bodies), so only their class, code and stack frames are logged.
import { type DestinationStream, type LogFn, type Logger, pino } from 'pino';
import { describeError } from './describe-error.ts';

export type { DestinationStream, Logger } from 'pino';

/** Bytes. */
const maxBufferedBytes = 16_777_216;

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
    hooks: { logMethod: dropImplicitMessage },
  };
  // While one write is under way lines gather for the next; what is left is written at the exit. A process that is killed
  // loses the lines of that moment; so does one whose output nobody reads, beyond `mostWaiting`.
  return pino(options, destination ?? pino.destination({ sync: false, maxLength: maxBufferedBytes }));
}

/** For a line without a message of its own pino takes the error's. */
function dropImplicitMessage(this: Logger, args: Parameters<LogFn>, method: LogFn): void {
  const [first, message = ''] = args;
  method.apply(this, typeof first === 'object' && args.length < 2 ? [first, message] : args);
}
