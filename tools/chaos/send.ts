// Sends one request as a client does and records the response.
import type { Attempt } from './history.ts';

const responseTimeoutMs = 8_000;

export interface ClientRequest extends Pick<Attempt, 'requestId' | 'kind' | 'method' | 'path' | 'body'> {
  key?: Attempt['key'];
}

interface SendOptions {
  /** Sent in place of the body's JSON. */
  rawBody?: string | undefined;
  /** An API key, sent as a bearer token. */
  credential?: string | undefined;
  /** Milliseconds until the request is given up. */
  timeoutMs?: number | undefined;
}

/** Never rejects: no response is recorded too. */
export async function send(
  url: string,
  request: ClientRequest,
  { rawBody, credential, timeoutMs = responseTimeoutMs }: SendOptions = {},
): Promise<Attempt> {
  const { requestId, method, path, body, key } = request;
  const attempt: Attempt = {
    ...{ ...request, key, startedAt: Date.now(), endedAt: 0, status: 0 },
    ...{ id: undefined, total: undefined, errorText: undefined, code: undefined, projection: null, retryAfter: null },
    isReplayed: false,
    noResponseReason: undefined,
  };
  try {
    const content = rawBody ?? (body && JSON.stringify(body));
    const headers = {
      'x-request-id': requestId,
      ...(content && { 'content-type': 'application/json' }),
      ...(key !== undefined && { 'idempotency-key': key }),
      ...(credential !== undefined && { authorization: `Bearer ${credential}` }),
    };
    const signal = AbortSignal.timeout(timeoutMs);
    const response = await fetch(`${url}${path}`, { method, headers, signal, ...(content && { body: content }) });
    const text = await response.text();
    attempt.status = response.status;
    if (!response.ok) attempt.errorText = `${JSON.stringify([...response.headers])} ${text}`;
    const { id, total, code } = JSON.parse(text) as Pick<Attempt, 'id' | 'total' | 'code'>;
    Object.assign(attempt, { id, total, code });
    attempt.projection = response.headers.get('promopulse-projection');
    attempt.retryAfter = response.headers.get('retry-after');
    attempt.isReplayed = response.headers.has('idempotent-replayed');
  } catch (error) {
    const { name, cause } = error as { name: string; cause?: { code?: string; message?: string } };
    attempt.noResponseReason = cause?.code ?? cause?.message ?? name;
  }
  attempt.endedAt = Date.now();
  return attempt;
}
