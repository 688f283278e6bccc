// Joins the writes of one turn of the event loop into one. Each write to a socket is a system call, and with
// TCP_NODELAY a packet of its own.
import type { Writable } from 'node:stream';

/**
 * Corks `socket` at the first write and uncorks it when `schedule` calls back.
 * @param schedule `process.nextTick`: after the callback that writes; `setImmediate`: after all callbacks of the turn
 */
export function coalesceWrites<Socket extends Writable>(
  socket: Socket,
  schedule: (uncork: () => void) => unknown,
): Socket {
  const write = socket.write.bind(socket) as (...input: unknown[]) => boolean;
  let corked = false;
  const uncork = (): void => {
    corked = false;
    socket.uncork();
  };
  socket.write = (...input: unknown[]) => {
    if (!corked) {
      corked = true;
      socket.cork();
      schedule(uncork);
    }
    return write(...input);
  };
  return socket;
}
