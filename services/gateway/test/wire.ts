// Sends bytes over a socket, for requests that no HTTP client would write.
import { connect } from 'node:net';

export interface RawAnswer {
  /** 0 when the connection closed without an answer. */
  status: number;
  headers: string;
  body: string;
}

/** The value of a header of an answer; undefined without it. Several lines are joined by a comma. */
export function headerOf({ headers }: RawAnswer, name: string): string | undefined {
  const lines = headers
    .split('\r\n')
    .slice(1)
    .map((line) => line.split(/: ?(.*)/s));
  const values = lines.filter(([sent]) => sent?.toLowerCase() === name.toLowerCase()).map(([, value]) => value);
  return values.length > 0 ? values.join(', ') : undefined;
}

/** A GET, as bytes. */
export const requestFor = (path: string) => `GET ${path} HTTP/1.1\r\nHost: gateway\r\n\r\n`;

/** Writes the parts in their order, `gapMs` milliseconds apart, and reads one response. */
export function sendRaw(port: number, parts: readonly string[], gapMs = 0): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    let text = '';
    const finish = () => {
      clearTimeout(deadline);
      socket.destroy();
      resolve(parseAnswer(text));
    };
    const deadline = setTimeout(() => {
      socket.destroy();
      reject(
        new Error(`no complete answer to ${JSON.stringify(parts[0]?.slice(0, 80))}, only ${JSON.stringify(text)}`),
      );
    }, 15_000);
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      if (isComplete(text, parts[0])) finish();
    });
    socket.on('close', finish);
    socket.on('error', () => {});
    socket.on('connect', async () => {
      for (const part of parts) {
        if (socket.destroyed) return;
        socket.write(part, 'latin1');
        if (gapMs > 0) await new Promise((next) => setTimeout(next, gapMs));
      }
    });
  });
}

/** Removes an interim response. */
function withoutInterim(text: string): string {
  return text.replace(/^HTTP\/1\.1 100 [^\r]*\r\n\r\n/, '');
}

function isComplete(raw: string, request = ''): boolean {
  const text = withoutInterim(raw);
  const end = text.indexOf('\r\n\r\n');
  if (end === -1) return false;
  if (request.startsWith('HEAD ') || /^HTTP\/1\.1 (204|304) /.test(text)) return true;
  const length = /\r\ncontent-length: (\d+)/i.exec(text.slice(0, end))?.[1];
  if (length !== undefined) return text.length >= end + 4 + Number(length);
  return text.endsWith('0\r\n\r\n');
}

function parseAnswer(raw: string): RawAnswer {
  const text = withoutInterim(raw);
  const end = text.indexOf('\r\n\r\n');
  const status = /^HTTP\/1\.1 (\d{3}) /.exec(text)?.[1] ?? '0';
  return { status: Number(status), headers: end === -1 ? '' : text.slice(0, end), body: text.slice(end + 4) };
}
