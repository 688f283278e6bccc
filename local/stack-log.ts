// Where the mesh of `npm start` logs: every JSON line goes to a file, and a warning or an error also to the terminal
// as one readable line, each kind at most once in some seconds.
import { createWriteStream, existsSync, openSync, renameSync, statSync } from 'node:fs';
import { finished } from 'node:stream/promises';
import { styleText } from 'node:util';

interface StackLog {
  /** For pino. */
  write(line: string): void;
  close(): Promise<void>;
}

interface LogLine {
  level: string;
  time: string;
  service: string;
  msg: string;
  err?: { type?: string; code?: string };
}

const keptBytes = 20_000_000;
const quietMs = 10_000;

export function openStackLog(path: string, print: (line: string) => void): StackLog {
  if (existsSync(path) && statSync(path).size > keptBytes) renameSync(path, `${path}.1`);
  const file = createWriteStream(path, { fd: openSync(path, 'a', 0o600) });
  file.once('error', ({ message }) => print(`The log cannot be written any more: ${message}`));
  file.on('error', () => undefined); // a full disk is no reason to stop serving
  const said = new Map<string, number>();
  return {
    write: (line) => {
      file.write(line);
      if (!/^\{"level":"(warn|error|fatal)"/.test(line)) return;
      const { level, time, service, msg, err } = JSON.parse(line) as LogLine;
      const cause = [err?.type, err?.code].filter(Boolean).join(' ');
      const text = `${level} ${service}: ${msg}${cause && ` (${cause})`}`;
      const now = Date.now();
      if (now - (said.get(text) ?? 0) < quietMs) return;
      said.set(text, now);
      print(`${time.slice(11, 19)} ${styleText(level === 'warn' ? 'yellow' : 'red', text)}`);
    },
    close: () => {
      file.end();
      return finished(file).catch(() => undefined);
    },
  };
}
