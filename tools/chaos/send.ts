// One request of a client, and what came of it.
import type { Attempt } from './history.ts';

const patienceMs = 8_000;

type Request = Pick<Attempt, 'requestId' | 'kind' | 'method' | 'path' | 'body'>;

/** Never rejects: no answer is an outcome too. @param raw what is sent in place of the body's JSON */
export async function send(url: string, request: Request, raw?: string): Promise<Attempt> {
  const { requestId, method, path, body } = request;
  const attempt: Attempt = {
    ...{ ...request, began: Date.now(), ended: 0, status: 0 },
    ...{ id: undefined, total: undefined, said: undefined, code: undefined, projection: null, retryAfter: null },
    failure: undefined,
  };
  try {
    const sent = raw ?? (body && JSON.stringify(body));
    const headers = { 'x-request-id': requestId, ...(sent && { 'content-type': 'application/json' }) };
    const signal = AbortSignal.timeout(patienceMs);
    const answer = await fetch(`${url}${path}`, { method, headers, signal, ...(sent && { body: sent }) });
    const text = await answer.text();
    attempt.status = answer.status;
    if (!answer.ok) attempt.said = `${JSON.stringify([...answer.headers])} ${text}`;
    const said = JSON.parse(text) as Pick<Attempt, 'id' | 'total' | 'code'>;
    attempt.id = said.id;
    attempt.total = said.total;
    attempt.code = said.code;
    attempt.projection = answer.headers.get('promopulse-projection');
    attempt.retryAfter = answer.headers.get('retry-after');
  } catch (error) {
    const { name, cause } = error as { name: string; cause?: { code?: string; message?: string } };
    attempt.failure = cause?.code ?? cause?.message ?? name;
  }
  attempt.ended = Date.now();
  return attempt;
}
