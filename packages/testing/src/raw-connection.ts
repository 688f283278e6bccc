// One connection on which a test writes bytes that no HTTP client would write, and reads all answers.
import { once } from 'node:events';
import { connect } from 'node:net';

/** Milliseconds in which the server must close the connection. */
const maxMs = 20_000;

/**
 * Writes the first part. Writes each other part when more has arrived than before the part ahead of it.
 * @param url of which only the host and the port count
 * @returns all that the server has sent until it has closed the connection @throws when it does not close it
 */
export async function exchangeRaw(url: string, ...parts: string[]): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname)
    .on('error', () => {})
    .setTimeout(maxMs);
  const closed = once(socket, 'close');
  let received = '';
  const left = [...parts];
  const writeNext = () => {
    const part = left.shift();
    if (part !== undefined) socket.write(part, 'latin1');
  };
  let isSilent = false;
  socket.on('timeout', () => {
    isSilent = true;
    socket.destroy();
  });
  socket.on('data', (chunk) => {
    received += chunk.toString('latin1');
    writeNext();
  });
  socket.on('connect', writeNext);
  await closed;
  if (isSilent) throw new Error(`the server has not closed the connection after ${JSON.stringify(received)}`);
  return received;
}

/** The answers in what a server has sent: each is its status line, its headers and its body. */
export function answersIn(received: string): { status: number; head: string; body: string }[] {
  return received
    .split(/(?=HTTP\/1\.1 \d{3} )/)
    .filter((part) => part !== '')
    .map((part) => {
      const [head = '', ...body] = part.split('\r\n\r\n');
      return { status: Number(head.slice(9, 12)), head, body: body.join('\r\n\r\n') };
    });
}
