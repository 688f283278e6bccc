// Finds TCP ports for servers of our own. Never one of the ephemeral range (32768 and up on Linux), where the system
// hands out ports to outgoing connections and a server's port would collide at random.
import { randomInt } from 'node:crypto';
import { connect, createServer } from 'node:net';

const lowest = 20_000;
const highest = 32_767;

/** @returns `preferred` if nobody listens there, else a free port from 20000 to 32767 that is not in `except`. */
export async function freePort(preferred?: number, except: readonly number[] = []): Promise<number> {
  if (preferred !== undefined && !except.includes(preferred) && (await isPortFree(preferred))) return preferred;
  for (let attempt = 0; attempt < 200; attempt++) {
    const port = randomInt(lowest, highest + 1);
    if (!except.includes(port) && (await isPortFree(port))) return port;
  }
  throw new Error(`No free TCP port was found from ${lowest} to ${highest}`);
}

/** Binding alone is not enough: macOS lets 127.0.0.1 be bound beside somebody's 0.0.0.0, so it also tries to connect. */
export async function isPortFree(port: number, host = '127.0.0.1'): Promise<boolean> {
  return (await canListen(port, host)) && !(await answers(port));
}

function canListen(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    const settle = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(1_000, () => settle(true));
    socket.once('connect', () => settle(true));
    socket.once('error', () => settle(false));
  });
}
