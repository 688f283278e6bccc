// The change of a request that has an idempotency key. The promise: however often the request is sent, at the same time
// or after a crash, its change is made once, and every 2xx answer to it is the first one. Key, change and event are one
// commit, so a process that dies leaves either all of them or none, and never a key that is taken without a change.
// Refusals are not kept: a refused request that is repeated is decided anew.
import type { Cause } from '../../contracts/cause.ts';
import { idempotencyInProgress, idempotencyKeyReused, idempotentAnswerLost } from '../../errors.ts';
import { JsonText } from '../../values/json-text.ts';
import type { Database } from '../database.ts';
import { violatedConstraint } from '../sqlstate.ts';
import {
  type Answer,
  type AnswerProtection,
  findAnswer,
  type KeptAnswer,
  keepAnswer,
  lockKey,
  openAnswers,
  type StoredKey,
  storedKeyOf,
} from './idempotency-keys.ts';
import { withinTransaction } from './transaction-database.ts';

/** The header of an answer that was kept from an earlier request. */
export const replayedHeader = 'Idempotent-Replayed';

/** The scope of callers who are not known. They share their keys. */
const anonymous = 'anonymous';

/**
 * Runs the change of a request, and keeps its answer. Without an idempotency key, `work` gets the database itself. With
 * one, it gets a database whose statements are all in the transaction that also keeps the answer: it must not wait for
 * anything but the database, and may run again when a lock is not free at once.
 * @param work makes the change and presents it. Undefined: nothing was changed, and nothing is kept
 * @returns the answer of `work`, or the kept one, with `Idempotent-Replayed: true`
 * @throws idempotencyInProgress, idempotencyKeyReused, idempotentAnswerLost, or what `work` throws
 */
export type CommitOnce = <Result extends Answer | undefined>(
  cause: Cause,
  work: (database: Database) => Promise<Result>,
) => Promise<Result | Answer>;

export function createCommitOnce(database: Database, protection: AnswerProtection = openAnswers): CommitOnce {
  return async (cause, work) => {
    const { idempotency, actor } = cause;
    if (!idempotency) return await work(database);
    const key = storedKeyOf(database.schema, actor ?? anonymous, idempotency, protection.secret);
    /** The last row that the work has asked for: what it may wait for. */
    let row: string | undefined;
    return await database.transaction(
      async (em) => {
        const transaction = withinTransaction(database, em, (name) => {
          row = name;
        });
        if (!(await lockKey(transaction, key))) throw idempotencyInProgress();
        const kept = await findAnswer(transaction, key);
        if (kept) return replay(kept, key, protection);
        const answer = await work(transaction);
        if (answer) await keepAnswer(transaction, key, answer, protection).catch(rejectTaken);
        return answer;
      },
      () => row,
    );
  };
}

function replay(kept: KeptAnswer, { fingerprint }: StoredKey, { unseal }: AnswerProtection): Answer {
  if (!kept.fingerprint.equals(fingerprint)) throw idempotencyKeyReused();
  const { status, answer, headers } = kept;
  const text = unseal(answer);
  if (text === undefined) throw idempotentAnswerLost(headers.Location);
  const body = text === '' ? {} : { body: new JsonText(text) };
  return { status, ...body, headers: { ...headers, [replayedHeader]: 'true' } };
}

/** A release that locks keys in another way may have kept an answer at the same time. */
function rejectTaken(error: unknown): never {
  throw violatedConstraint(error) === 'idempotency_keys_pkey' ? idempotencyInProgress(error) : error;
}
