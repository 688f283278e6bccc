// A client may close its sending side after its request, and wait for the answer (TCP half-close). One that has gone sends
// the same FIN. It shows only when something is sent to it: then its system resets the connection.
import type { Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Milliseconds from the end of what a client sends to the probe. Nearly all requests are answered before. */
const probeAfterMs = 250;
/** Milliseconds from the probe to the first look for a reset, and between two looks. Node does not watch for one then. */
const lookEveryMs = 100;

/**
 * Answers half-closed connections. One whose answer takes longer gets an interim response, which clients ignore (RFC 9110
 * 15.2): so a client that has gone is noticed before the answer is there. Must be called before the server listens.
 */
export function answerHalfClosed(server: Server): void {
  // Node has no type for it. Without it Node ends the connection at once, and the answer is lost.
  (server as { httpAllowHalfOpen?: boolean }).httpAllowHalfOpen = true;
  server.on('connection', (socket: Socket) => {
    socket.once('end', () => void setTimeout(probe, probeAfterMs, socket).unref());
  });
}

function probe(socket: Socket): void {
  const response = (socket as { _httpMessage?: ServerResponse | null })._httpMessage;
  // HTTP/1.0 has no interim responses.
  if (!socket.writable || !response || response.headersSent || response.req.httpVersion !== '1.1') return;
  response.writeContinue();
  // A write of nothing fails when the connection was reset. It also counts as traffic, so it ends with the headers.
  const looking = setInterval(() => {
    if (response.headersSent) clearInterval(looking);
    else socket.write('');
  }, lookEveryMs).unref();
  response.once('close', () => clearInterval(looking));
}
