// The ACTIVE check of a subscription (decision 0004): one statement decides. Only when it writes nothing are the facts read,
// and the owners asked about what cannot be relied on.
import type { Cause } from '@promopulse/shared/contracts/cause';
import type { Database } from '@promopulse/shared/database/database';
import { outcomeUnknown } from '@promopulse/shared/errors';
import { type OwnerClients, ownerUnavailable } from '@promopulse/shared/projections/reading/owner-client';
import type { ClockReading } from '@promopulse/shared/projections/rows/source-store';
import { applyAnswer, markLost } from '@promopulse/shared/projections/rows/store';
import { type Consulted, concealDraft, type Decision, factsUnknown } from '../rules.ts';
import type { ReadFacts } from './facts-store.ts';
import { projections } from './projections.ts';

type Owner = keyof typeof projections.owners;
type Owners = OwnerClients<Owner>;

/** Normally at most three statements that write and two owner requests. More rounds happen only under concurrent changes. */
const maxRounds = 5;

export interface ActiveCheck {
  owners: Owners;
  /** How long, in seconds, a confirmed status of a promotion is relied on. */
  leaseSeconds: number;
  /** For an end user. */
  concealsDrafts?: boolean;
}

/** Of a route that decides: what 503 means, and its problems. */
export const unknownFacts =
  "the user or the promotion's status is not known at the moment; retry after the time in Retry-After. With the code `outcome_unknown`, without Retry-After: the change may or may not have been made";
export const unknownFactsProblems = [factsUnknown(), ownerUnavailable('promotions', 1_000), outcomeUnknown()];

type Decide = (facts: ReadFacts, consulted: Consulted) => Decision;

/** For an end user, a draft is rejected as if it were not there. */
export function deciderOf({ concealsDrafts = false }: ActiveCheck, decide: Decide): Decide {
  return concealsDrafts ? (facts, consulted) => concealDraft(decide(facts, consulted), facts) : decide;
}

interface ActiveCheckSteps<Result> {
  /** The one statement that decides. */
  write(): Promise<Result | undefined>;
  read(): Promise<ReadFacts>;
  decide: Decide;
}

/** Only when the statement writes nothing are the facts read, and owners asked about unknown ones. */
export async function decideByFacts<Result>(
  database: Database,
  owners: Owners,
  cause: Cause,
  { write, read, decide }: ActiveCheckSteps<Result>,
): Promise<Result> {
  const consulted: Consulted = {};
  for (let round = 0; round < maxRounds; round += 1) {
    const written = await write();
    if (written) return written;
    const facts = await read();
    const decision = decide(facts, consulted);
    if (decision === 'retry') continue;
    if ('reject' in decision) throw decision.reject;
    const owner = decision.consult;
    const id = owner === 'users' ? facts.user_id : facts.promotion_id;
    consulted[owner] = await refresh(database, owners, { owner, id, readAt: facts.read_at }, cause);
  }
  throw factsUnknown();
}

/** Asks the owner, and applies its answer. @returns what it answered */
async function refresh(
  database: Database,
  owners: Owners,
  { owner, id, readAt }: { owner: Owner; id: number; readAt: ClockReading },
  cause: Cause,
): Promise<'none' | 'state'> {
  const state = await owners[owner].get(id, cause);
  if (state) await applyAnswer(database, projections.owners[owner], state, readAt);
  else await markLost(database, projections.owners[owner], [id], readAt);
  return state ? 'state' : 'none';
}
