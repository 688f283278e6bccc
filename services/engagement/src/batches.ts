// The use case of events: a batch gets one receipt for each item. Nothing is acknowledged before its commit.
import type { Cause } from '@promopulse/shared/contracts/cause';
import type { Database } from '@promopulse/shared/database/database';
import { isDatabaseUnavailable, isMissingPartition } from '@promopulse/shared/database/sqlstate';
import { DomainError } from '@promopulse/shared/errors';
import { validateInput } from '@promopulse/shared/http/input/validate-input';
import type { OwnerClient } from '@promopulse/shared/projections/reading/owner-client';
import { readClock } from '@promopulse/shared/projections/rows/source-store';
import { applyAnswers, markLost } from '@promopulse/shared/projections/rows/store';
import type { JsonFault } from '@promopulse/shared/values/parse-json';
import { type Consulted, type Item, recordEvents, settleEvents } from './queries.ts';
import { invalidItem, isRejection, rejections, type UnacceptedVerdict, type Verdict } from './rules.ts';
import { newEvent, type Receipt } from './schemas.ts';

/** The statement, the owners' answers, and the statement again. A promotion that changes meanwhile needs another round. */
const maxRounds = 3;

type OwnerName = 'users' | 'promotions';

export interface BatchOptions {
  database: Database;
  owners: Readonly<Record<OwnerName, OwnerClient>>;
  /** How long, in seconds, a confirmed status of a promotion is relied on. */
  leaseSeconds: number;
}

interface SentBatch {
  items: readonly unknown[];
  /** What the parser of the body has found in an item. */
  faultsOf(position: number): readonly JsonFault[];
  /** Who has sent it: the ids of different clients are different. */
  client: string;
}

/** @throws the database's error while nothing is committed; later, what is not committed gets the receipt `retry` */
export async function countEvents(options: BatchOptions, batch: SentBatch, cause: Cause): Promise<Receipt[]> {
  const read = batch.items.map((item, position) => readItem(item, position, batch.faultsOf(position)));
  const items = read.flatMap((each) => ('event' in each ? [each] : []));
  const invalid = read.length - items.length;
  const verdicts = await recordInRounds(options, items, batch.client, cause);
  const outcomes = await settle(options.database, batch.client, { items, verdicts, invalid });
  return read.map((each) =>
    'event' in each ? receiptOf(each.event.id, outcomes.get(each.position) as Outcome) : each.receipt,
  );
}

function readItem(item: unknown, position: number, faults: readonly JsonFault[]): Item | { receipt: Receipt } {
  if (faults.length === 0) {
    const { success, data: event } = newEvent.safeParse(item); // half of the cost of validateInput, which names the rule
    if (success) return { position, event };
  }
  try {
    return { position, event: validateInput(newEvent, item, 'event', faults) };
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    const { field, rule } = error.errors?.[0] ?? {};
    const id = newEvent.shape.id.safeParse(Object(item).id);
    return { receipt: { id: id.data ?? null, status: 'rejected', code: invalidItem, field, rule } };
  }
}

/** @returns the verdicts by position. One that still asks stands for `retry`. */
async function recordInRounds(
  { database, owners, leaseSeconds }: BatchOptions,
  items: readonly Item[],
  client: string,
  cause: Cause,
): Promise<Map<number, Verdict>> {
  const verdicts = new Map<number, Verdict>();
  let open = items;
  let consulted: Consulted = { promotions: [], missingPromotions: [], missingUsers: [] };
  for (let round = 1; open.length > 0; round += 1) {
    try {
      const found = await recordEvents(database, open, { client, leaseSeconds, consulted });
      for (const [position, verdict] of found) verdicts.set(position, verdict);
    } catch (error) {
      // A day was dropped meanwhile, and the statement has changed nothing: what it was about is `retry`.
      if (isMissingPartition(error) || (round > 1 && isDatabaseUnavailable(error))) break;
      throw error;
    }
    open = open.filter(({ position }) => verdicts.get(position)?.startsWith('ask_'));
    if (open.length === 0 || round === maxRounds) break;
    const asked = await askOwners({ database, owners }, open, verdicts, cause);
    if (!asked) break;
    consulted = merge(consulted, asked);
  }
  return verdicts;
}

/** @returns undefined when no owner has answered */
async function askOwners(
  { database, owners }: Pick<BatchOptions, 'database' | 'owners'>,
  open: readonly Item[],
  verdicts: ReadonlyMap<number, Verdict>,
  cause: Cause,
): Promise<Consulted | undefined> {
  const idsFor = (verdict: Verdict, read: (item: Item) => number | undefined): number[] => [
    ...new Set(open.flatMap((item) => (verdicts.get(item.position) === verdict ? (read(item) ?? []) : []))),
  ];
  const users = idsFor('ask_users', ({ event }) => event.user_id);
  const promotions = idsFor('ask_promotions', ({ event }) => event.promotion_id);
  const [missingUsers, missingPromotions] = await Promise.allSettled([
    users.length > 0 ? refresh(database, owners.users, users, cause) : [],
    promotions.length > 0 ? refresh(database, owners.promotions, promotions, cause) : [],
  ]);
  const hasAnswer =
    (users.length > 0 && missingUsers.status === 'fulfilled') ||
    (promotions.length > 0 && missingPromotions.status === 'fulfilled');
  if (!hasAnswer) return undefined;
  return {
    promotions: missingPromotions.status === 'fulfilled' ? promotions : [],
    missingPromotions: missingPromotions.status === 'fulfilled' ? missingPromotions.value : [],
    missingUsers: missingUsers.status === 'fulfilled' ? missingUsers.value : [],
  };
}

/** Asks the owner once about all ids, and applies its answers. @returns the ids of which it has nothing */
async function refresh(
  database: Database,
  client: OwnerClient,
  ids: readonly number[],
  cause: Cause,
): Promise<readonly number[]> {
  const readAt = await readClock(database);
  const { states, missing } = await client.getMany(ids, cause);
  await applyAnswers(database, client.projection, [...states.values()], readAt);
  await markLost(database, client.projection, missing, readAt);
  return missing;
}

function merge(one: Consulted, other: Consulted): Consulted {
  return {
    promotions: [...one.promotions, ...other.promotions],
    missingPromotions: [...one.missingPromotions, ...other.missingPromotions],
    missingUsers: [...one.missingUsers, ...other.missingUsers],
  };
}

interface Settled {
  items: readonly Item[];
  verdicts: ReadonlyMap<number, Verdict>;
  /** How many items are no events. */
  invalid: number;
}

/** What a receipt says. */
type Outcome = 'accepted' | UnacceptedVerdict;

/**
 * Counts what is not accepted, and finds duplicates in it. What cannot be counted now is to be sent again.
 * @returns the outcomes by position, of every item
 */
async function settle(
  database: Database,
  client: string,
  { items, verdicts, invalid }: Settled,
): Promise<Map<number, Outcome>> {
  const outcomes = new Map(items.map(({ position }) => [position, outcomeOf(verdicts.get(position))]));
  const unaccepted = items.flatMap(({ event, position }) => {
    const verdict = outcomes.get(position) as Outcome;
    return verdict === 'accepted' || verdict === 'duplicate' ? [] : [{ position, event, verdict }];
  });
  if (unaccepted.length === 0 && invalid === 0) return outcomes;
  try {
    const settled = await settleEvents(database, client, { unaccepted, invalid });
    for (const [index, { position }] of unaccepted.entries()) outcomes.set(position, settled[index] ?? 'retry');
  } catch (error) {
    if (unaccepted.length === items.length || !isDatabaseUnavailable(error)) throw error; // nothing is committed
    for (const { position } of unaccepted) outcomes.set(position, 'retry');
  }
  return outcomes;
}

/** What could not be told is to be sent again. */
function outcomeOf(verdict: Verdict | undefined): Outcome {
  return verdict === undefined || verdict === 'ask_users' || verdict === 'ask_promotions' ? 'retry' : verdict;
}

function receiptOf(id: string, outcome: Outcome): Receipt {
  if (isRejection(outcome)) return { id, status: 'rejected', code: outcome, ...rejections[outcome] };
  return { id, status: outcome };
}
