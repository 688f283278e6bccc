// Finds TCP ports for servers of our own. Never one of the ephemeral range (32768 and up on Linux), where the system
// hands out ports to outgoing connections and a server's port would collide at random.
import { randomInt } from 'node:crypto';
import { connect, createServer } from 'node:net';

const lowest = 20_000;
const highest = 32_767;

/** @returns `preferred` if nobody listens there, else a free port from 20000 to 32767 that is not in `except`. */
export async function freePort(preferred?: number, except: readonly number[] = []): Promise<number> {
  if (preferred !== undefined && !except.includes(preferred) && (await isFree(preferred))) return preferred;
  for (let attempt = 0; attempt < 200; attempt++) {
    const port = randomInt(lowest, highest + 1);
    if (!except.includes(port) && (await isFree(port))) return port;
  }
  throw new Error(`No free TCP port was found from ${lowest} to ${highest}`);
}

/**
 * Binding alone is not enough: macOS lets 127.0.0.1 be bound beside somebody's 0.0.0.0, so it also tries to connect.
 * @returns 'taken', another reason as a system's error code, or nothing if a server can listen there
 */
export async function checkPort(port: number, host = '127.0.0.1'): Promise<string | undefined> {
  const code = await bindError(port, host);
  if (code === 'EADDRINUSE' || (code === undefined && (await answers(port, host)))) return 'taken';
  return code;
}

async function isFree(port: number): Promise<boolean> {
  return (await checkPort(port)) === undefined;
}

function bindError(port: number, host: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.name));
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}

function answers(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host });
    const settle = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(1_000, () => settle(true));
    socket.once('connect', () => settle(true));
    socket.once('error', () => settle(false));
  });
}
