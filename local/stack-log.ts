// The log of `npm start`. Every JSON line goes to a file. A warning or an error also goes to the terminal as one readable
// line; the same text appears there at most once in 10 seconds.
import { createWriteStream, existsSync, openSync, renameSync, statSync } from 'node:fs';
import { finished } from 'node:stream/promises';
import { styleText } from 'node:util';

interface StackLog {
  /** Takes one JSON line of pino. */
  write(line: string): void;
  close(): Promise<void>;
}

interface LogLine {
  level: string;
  time: string;
  service: string;
  msg: string;
  err?: { type?: string; code?: string };
  code?: string;
  address?: string;
}

/** A larger file is renamed to `<path>.1` at the start. */
const maxFileBytes = 20_000_000;
const minRepeatMs = 10_000;

export function openStackLog(path: string, print: (line: string) => void): StackLog {
  if (existsSync(path) && statSync(path).size > maxFileBytes) renameSync(path, `${path}.1`);
  const file = createWriteStream(path, { fd: openSync(path, 'a', 0o600) });
  file.once('error', ({ message }) => print(`The log file ${path} can no longer be written: ${message}`));
  file.on('error', () => undefined); // the services go on when the disk is full
  const printedAt = new Map<string, number>();
  return {
    write: (line) => {
      file.write(line);
      if (!/^\{"level":"(warn|error|fatal)"/.test(line)) return;
      const { level, time, service, msg, err, code, address } = JSON.parse(line) as LogLine;
      const cause = [err?.type, err?.code, code, address].filter(Boolean).join(' ');
      const text = `${level} ${service}: ${msg}${cause && ` (${cause})`}`;
      const now = Date.now();
      if (now - (printedAt.get(text) ?? 0) < minRepeatMs) return;
      printedAt.set(text, now);
      print(`${time.slice(11, 19)} ${styleText(level === 'warn' ? 'yellow' : 'red', text)}`);
    },
    close: () => {
      file.end();
      return finished(file).catch(() => undefined);
    },
  };
}
