// What was asked of the mesh and what it answered, with the times of both: the record that the checks judge by.

export const writeKinds = [
  'create user',
  'change user',
  'create promotion',
  'activate',
  'edit',
  'end',
  'subscribe',
  'deactivate',
] as const;
export type WriteKind = (typeof writeKinds)[number];
export type Kind =
  | WriteKind
  | 'read user'
  | 'find user'
  | 'read promotion'
  | 'list promotions'
  | 'list subscriptions'
  | 'bad request';

export interface Attempt {
  /** Sent as X-Request-Id, which comes back in the outbox row of the change. */
  requestId: string;
  kind: Kind;
  method: string;
  path: string;
  body: Record<string, unknown> | undefined;
  /** Milliseconds of the epoch, on the clock that PostgreSQL has too. */
  began: number;
  ended: number;
  /** 0: no answer. */
  status: number;
  /** Of what was created or changed. */
  id: number | undefined;
  /** Of what was listed. */
  total: number | undefined;
  /** An error's headers and body, as they came. */
  said: string | undefined;
  code: string | undefined;
  projection: string | null;
  retryAfter: string | null;
  /** Why there was no answer. */
  failure: string | undefined;
}

export function isSuccess({ status }: Attempt): boolean {
  return status === 200 || status === 201;
}

/** The request may have taken effect, or not. */
export function isOpen({ status }: Attempt): boolean {
  return status === 0 || status === 503 || status === 504;
}

export function isWrite({ kind }: Attempt): boolean {
  return (writeKinds as readonly string[]).includes(kind);
}

export function describe(attempt: Attempt): string {
  const { requestId, method, path, body, began, ended, status, id, code, projection, failure } = attempt;
  const at = (time: number): string => new Date(time).toISOString().slice(11, 23);
  const said = [status || 'no answer', id && `id ${id}`, code, projection, failure].filter(Boolean).join(' ');
  return `${requestId} ${at(began)}–${at(ended)} ${method} ${path} ${JSON.stringify(body ?? '')} → ${said}`;
}
