// A collector for tests: takes spans as OTLP in JSON over HTTP (https://opentelemetry.io/docs/specs/otlp/).
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { gunzipSync } from 'node:zlib';

export interface ReceivedSpan {
  /** `service.name` of the process that made it. */
  service: string;
  name: string;
  kind: string;
  traceId: string;
  spanId: string;
  parentSpanId: string | undefined;
  attributes: Record<string, unknown>;
  links: { traceId: string; spanId: string }[];
  isError: boolean;
}

export interface OtlpReceiver {
  url: string;
  /** Spans in the order of their arrival. */
  spans: ReceivedSpan[];
  /** Everything that has arrived, as it was sent, and the header fields. */
  text(): string;
  /** From now on the collector reads requests and never answers them, until `answer`. */
  fallSilent(): void;
  answer(): void;
  /** Requests that have arrived. */
  requests(): number;
  close(): Promise<void>;
}

const kinds = ['UNSPECIFIED', 'INTERNAL', 'SERVER', 'CLIENT', 'PRODUCER', 'CONSUMER'];

interface Attribute {
  key: string;
  value: Record<string, unknown>;
}

interface OtlpSpan extends Pick<ReceivedSpan, 'name' | 'traceId' | 'spanId' | 'links'> {
  kind: number;
  parentSpanId?: string;
  attributes: Attribute[];
  status: { code?: number };
}

interface OtlpRequest {
  resourceSpans: { resource: { attributes: Attribute[] }; scopeSpans: { spans: OtlpSpan[] }[] }[];
}

/**
 * @param port 0: a free one
 * @param onText gets what would be kept, as `text` has it: nothing is kept then
 */
export async function startOtlpReceiver(port = 0, onText?: (text: string) => void): Promise<OtlpReceiver> {
  const spans: ReceivedSpan[] = [];
  const texts: string[] = [];
  const sockets = new Set<Socket>();
  let isSilent = false;
  let count = 0;
  const server = createServer(async (request, response) => {
    count += 1;
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    if (isSilent) return;
    const body = Buffer.concat(chunks);
    const text = (request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body).toString();
    if (onText) onText(`${JSON.stringify(request.headers)}\n${text}\n`);
    else {
      texts.push(JSON.stringify(request.headers), text);
      spans.push(...readSpans(JSON.parse(text)));
    }
    response.setHeader('Content-Type', 'application/json').end('{}');
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    text: () => texts.join('\n'),
    fallSilent: () => {
      isSilent = true;
    },
    answer: () => {
      isSilent = false;
      for (const socket of sockets) socket.destroy();
    },
    requests: () => count,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function readSpans({ resourceSpans }: OtlpRequest): ReceivedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const service = String(valuesOf(resource.attributes)['service.name']);
    return scopeSpans.flatMap(({ spans }) => spans.map((span) => readSpan(service, span)));
  });
}

function readSpan(
  service: string,
  { kind, parentSpanId, attributes, links = [], status, ...named }: OtlpSpan,
): ReceivedSpan {
  return {
    service,
    name: named.name,
    traceId: named.traceId,
    spanId: named.spanId,
    kind: kinds[kind] ?? 'UNKNOWN',
    parentSpanId: parentSpanId || undefined,
    attributes: valuesOf(attributes),
    links: links.map(({ traceId, spanId }) => ({ traceId, spanId })),
    isError: status.code === 2,
  };
}

function valuesOf(attributes: readonly Attribute[] = []): Record<string, unknown> {
  return Object.fromEntries(
    attributes.map(({ key, value }) => [key, 'intValue' in value ? Number(value.intValue) : Object.values(value)[0]]),
  );
}
