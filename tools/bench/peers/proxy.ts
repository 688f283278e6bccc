// A proxy written by hand on node:http and undici: what a gateway in Node costs at least. It reads the body, forwards
// the request with a request id, forwards the response, and writes one log line.
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { pino } from 'pino';
import { type Dispatcher, Pool } from 'undici';

const log = pino(pino.destination({ sync: false }));
const pool = new Pool(String(process.env.UPSTREAM_URL));

async function forward(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const startedAt = performance.now();
  const requestId = String(request.headers['x-request-id'] ?? randomUUID());
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const { host: _host, connection: _connection, 'content-length': _length, ...headers } = request.headers;
  const {
    statusCode,
    headers: responseHeaders,
    body,
  } = await pool.request({
    method: request.method as Dispatcher.HttpMethod,
    path: request.url ?? '/',
    headers: { ...headers, 'x-request-id': requestId, 'x-forwarded-for': String(request.socket.remoteAddress) },
    body: chunks.length > 0 ? Buffer.concat(chunks) : null,
  });
  const { connection: _ignored, 'transfer-encoding': _coding, ...forwarded } = responseHeaders;
  response.writeHead(statusCode, { ...forwarded, 'x-request-id': requestId });
  response.end(Buffer.from(await body.arrayBuffer()));
  const duration_ms = Math.round((performance.now() - startedAt) * 10) / 10;
  log.info(
    { request_id: requestId, method: request.method, path: request.url, status: statusCode, duration_ms },
    'request',
  );
}

createServer((request, response) => {
  forward(request, response).catch(() => response.destroy());
}).listen(Number(process.env.PORT), '127.0.0.1');
