// Each write to a socket is a system call, and a packet if the socket has no delay: what one turn of the event loop has to
// say goes out in one.
import type { Writable } from 'node:stream';

/** @param later when a turn is over: `process.nextTick` after the callback that writes, `setImmediate` after all that were due with it */
export function coalesceWrites<Socket extends Writable>(socket: Socket, later: (end: () => void) => unknown): Socket {
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
      later(uncork);
    }
    return write(...input);
  };
  return socket;
}
