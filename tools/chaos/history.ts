// The record of a run: every request, its response and the times of both. The checks compare it with the final state.

export const writeKinds = [
  'create user',
  'change user',
  'create promotion',
  'activate',
  'edit',
  'end',
  'subscribe',
  'deactivate',
  'reactivate',
] as const;
export type WriteKind = (typeof writeKinds)[number];
export type RequestKind =
  | WriteKind
  | 'read user'
  | 'find user'
  | 'read promotion'
  | 'list promotions'
  | 'list subscriptions'
  | 'bad request';

export interface Attempt {
  /** Sent as X-Request-Id. The outbox row of the change carries it too. */
  requestId: string;
  kind: RequestKind;
  method: string;
  path: string;
  body: Record<string, unknown> | undefined;
  /** Milliseconds since the epoch. PostgreSQL runs on the same machine, so its times are of the same clock. */
  startedAt: number;
  endedAt: number;
  /** The HTTP status; 0 when there was no response. */
  status: number;
  /** Id of what was created or changed. */
  id: number | undefined;
  /** Total of a list. */
  total: number | undefined;
  /** Headers and body of an error response, as they arrived. */
  errorText: string | undefined;
  /** Error code of the problem document. */
  code: string | undefined;
  /** The header `Promopulse-Projection`. */
  projection: string | null;
  /** Sent as `Idempotency-Key`. A request without an answer is sent again with the same key. */
  key: string | undefined;
  /** Whether the answer is that of an earlier request with the same `Idempotency-Key`. */
  isReplayed: boolean;
  /** The header `Retry-After`. */
  retryAfter: string | null;
  /** Why there was no response. */
  noResponseReason: string | undefined;
}

export function isSuccess({ status }: Attempt): boolean {
  return status === 200 || status === 201;
}

/** No response, 503 or 504. */
export function isUnanswered({ status }: Attempt): boolean {
  return status === 0 || status === 503 || status === 504;
}

/**
 * A write that may have taken effect or not. One that gets another 503, with Retry-After, has not. The gateway cannot know
 * that a bad request would have been rejected.
 */
export function isOutcomeUnknown(attempt: Attempt): boolean {
  const { kind, method, status, code } = attempt;
  const mayWrite = isWrite(attempt) || (kind === 'bad request' && method !== 'GET');
  return mayWrite && (status === 0 || status === 504 || (status === 503 && code === 'outcome_unknown'));
}

/** An earlier request with the same key has no answer yet. */
export function isInProgress({ code }: Attempt): boolean {
  return code === 'idempotency_in_progress';
}

export function isWrite({ kind }: Pick<Attempt, 'kind'>): boolean {
  return (writeKinds as readonly string[]).includes(kind);
}

/** The id in the path, such as 7 in `/promotions/7/status`. */
export function idInPath({ path }: Attempt): number {
  return Number(path.split('/')[2]);
}

/** One line for the report. */
export function describeAttempt(attempt: Attempt): string {
  const { requestId, method, path, body, startedAt, endedAt, status, id, code, projection, noResponseReason } = attempt;
  const timeOf = (ms: number): string => new Date(ms).toISOString().slice(11, 23);
  const response = [status || 'no response', id && `id ${id}`, code, projection, noResponseReason];
  const request = `${method} ${path} ${JSON.stringify(body ?? '')}`;
  return `${requestId} ${timeOf(startedAt)}–${timeOf(endedAt)} ${request} → ${response.filter(Boolean).join(' ')}`;
}
