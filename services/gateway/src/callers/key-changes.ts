// How API keys are changed: each change once, with one line in the log, and by nobody who gives what they do not have.
import type { Cause } from '@promopulse/shared/contracts/cause';
import type { Database } from '@promopulse/shared/database/database';
import type { Answer } from '@promopulse/shared/database/idempotency/idempotency-keys';
import { DomainError } from '@promopulse/shared/errors';
import { insufficientScope, invalidToken } from '@promopulse/shared/http/caller/access';
import type { Caller } from '@promopulse/shared/http/caller/caller';
import { isScope } from '@promopulse/shared/http/caller/scopes';
import type { Callers } from './callers.ts';
import { findKey, type KeyRow } from './key-store.ts';

export type OpenCallers = Pick<Callers, 'database' | 'keys' | 'commitOnceFor' | 'log'>;

interface Change {
  caller: Caller;
  cause: Cause;
  /** For the log. */
  what: 'made' | 'rotated' | 'revoked';
  /** Of a revocation: the key that is refused from the answer on. */
  ends?: string;
}

/**
 * Makes the change of a request once, tells this gateway of it, and leaves one line in the log.
 * @param work its id is undefined when nothing had to be changed; it may run again when a lock is not free at once
 */
export async function change(
  { keys, log, commitOnceFor }: OpenCallers,
  { caller, cause, what, ends }: Change,
  work: (database: Database) => Promise<{ id: string | undefined; answer: Answer }>,
): Promise<Answer> {
  let id: string | undefined;
  const answer = await commitOnceFor(caller)(cause, async (database) => {
    const done = await work(database);
    id = done.id;
    return done.answer;
  });
  // A repeated answer has changed nothing now. But another gateway may have made the change, and this one not know it.
  if (id !== undefined) {
    log.info({ api_key_id: id, actor: caller.actor, request_id: cause.requestId }, `an API key was ${what}`);
  }
  if (ends !== undefined) keys.end(ends);
  await keys.refresh();
  return answer;
}

/**
 * Who rotates a key gets its secret. @throws outlivesCaller when the actor is a key that ends before it; invalidToken when
 * the key of the actor is gone
 */
export async function checkOutlived({ database }: OpenCallers, actor: string | null, { expires_at: end }: KeyRow) {
  const [kind, id = ''] = actor?.split(':') ?? [];
  if (kind !== 'key') return;
  const own = await findKey(database, id);
  if (!own) throw invalidToken();
  if (own.expires_at && (!end || end > own.expires_at)) throw outlivesCaller();
}

/** @throws insufficientScope with the first scope that the caller lacks */
export function checkHeld({ scopes }: Caller, wanted: readonly string[]): void {
  if (scopes === 'all') return;
  const lacking = wanted.filter(isScope).find((scope) => !scopes.has(scope));
  if (lacking) throw insufficientScope(lacking, 'Nobody can give a key a scope that they do not have.');
}

export function outlivesCaller(): DomainError {
  const message = 'The API key ends later than that of the caller. Nobody can give what they do not have.';
  return new DomainError('forbidden', 'key_outlives_caller', message);
}
