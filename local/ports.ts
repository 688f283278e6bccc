// Finds free TCP ports for local servers, outside the ephemeral range (32768 and up on Linux). From that range the
// system gives ports to outgoing connections, and a server's port would collide with one of them at random.
import { randomInt } from 'node:crypto';
import { connect, createServer } from 'node:net';

const minPort = 20_000;
const maxPort = 32_767;
const connectTimeoutMs = 1_000;

/**
 * @returns `preferred` if it is free and not in `except`, else a free port from 20000 to 32767 that is not in `except`
 * @throws Error when 200 random ports were all taken
 */
export async function freePort(preferred?: number, except: readonly number[] = []): Promise<number> {
  if (preferred !== undefined && !except.includes(preferred) && (await isFree(preferred))) return preferred;
  for (let attempt = 0; attempt < 200; attempt++) {
    const port = randomInt(minPort, maxPort + 1);
    if (!except.includes(port) && (await isFree(port))) return port;
  }
  throw new Error(`No free TCP port was found from ${minPort} to ${maxPort}`);
}

/** @returns a function that finds a free port with each call, and none twice */
export function portAllocator(): () => Promise<number> {
  const taken: number[] = [];
  return async () => {
    const port = await freePort(undefined, taken);
    taken.push(port);
    return port;
  };
}

/**
 * Whether a server can listen on the port. It binds the port and also connects to it: macOS allows to bind 127.0.0.1
 * while another process listens on 0.0.0.0.
 * @returns undefined if a server can listen there, 'taken', or another reason as a system error code such as EACCES
 */
export async function checkPort(port: number, host = '127.0.0.1'): Promise<string | undefined> {
  const code = await bindError(port, host);
  if (code === 'EADDRINUSE' || (code === undefined && (await accepts(port, host)))) return 'taken';
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

/** Whether a connection is accepted; true as well when the attempt times out. */
function accepts(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host });
    const settle = (accepted: boolean) => {
      socket.destroy();
      resolve(accepted);
    };
    socket.setTimeout(connectTimeoutMs, () => settle(true));
    socket.once('connect', () => settle(true));
    socket.once('error', () => settle(false));
  });
}
