// Sends batches of events during the faults, as a client does: what has no receipt, or the receipt "retry", is sent again,
// shuffled into later batches. Some of what has a receipt is sent again, too. The promise: each event is counted once,
// and the sums of the reconciliation agree whenever they are read.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../../local/random.ts';
import type { Check } from './check.ts';
import type { Load } from './load.ts';
import type { Stack } from './stack.ts';

const batchSize = 20;
const betweenBatchesMs = 200;
const betweenReadingsMs = 500;
const promotionCount = 3;
const responseTimeoutMs = 8_000;
const finishTimeoutMs = 60_000;
/** Of the places of a batch: events that have a receipt already. */
const shareOfRepeated = 0.2;

interface SentEvent {
  event: Record<string, unknown> & { id: string };
  /** The receipts that it got, in the order in which they came. */
  statuses: string[];
}

export interface EventStream {
  sent: readonly SentEvent[];
  /** How often the reconciliation was read, and each answer that was not balanced. */
  readings: { count: number; unbalanced: string[] };
  /** Ends the stream, when every event has a receipt other than "retry". */
  stop(): Promise<void>;
  /** Compares the counts with the receipts. Call it after `stop`, while the services run. */
  check(): Promise<Check>;
}

type Target = Pick<Stack, 'url' | 'credential'> & {
  /** The answers of a client error: the stream sends nothing that is wrong. */
  refused: Set<string>;
};

interface StreamOptions {
  load: Load;
  random: Random;
}

export function startEventStream(
  stack: Pick<Stack, 'url' | 'credential'>,
  { load, random }: StreamOptions,
): EventStream {
  const target: Target = { ...stack, refused: new Set() };
  const sent: SentEvent[] = [];
  const readings: EventStream['readings'] = { count: 0, unbalanced: [] };
  let isRunning = true;
  const isOpen = ({ statuses }: SentEvent): boolean => !statuses.some((status) => status !== 'retry');
  const sendBatch = async (promotions: readonly number[], mayBeNew: boolean): Promise<void> => {
    const batch = chooseBatch({ sent, promotions, random, mayBeNew, isOpen });
    const receipts = await post(
      target,
      batch.map(({ event }) => event),
    );
    if (receipts.length > 0 && receipts.length !== batch.length)
      readings.unbalanced.push(`${receipts.length} receipts for ${batch.length} events`);
    for (const [index, status] of receipts.entries()) batch[index]?.statuses.push(status);
  };
  const writer = async (promotions: readonly number[]): Promise<void> => {
    for (; isRunning; await sleep(betweenBatchesMs)) await sendBatch(promotions, true);
    const deadline = Date.now() + finishTimeoutMs;
    for (; sent.some(isOpen) && Date.now() < deadline; await sleep(betweenBatchesMs))
      await sendBatch(promotions, false);
  };
  const reader = async (): Promise<void> => {
    for (; isRunning; await sleep(betweenReadingsMs)) {
      const sums = await get<{ is_balanced: boolean }>(target, '/statistics/reconciliation');
      if (sums) readings.count += 1;
      if (sums && !sums.is_balanced) readings.unbalanced.push(JSON.stringify(sums));
    }
  };
  const working = (async () => {
    const promotions: number[] = [];
    while (promotions.length < promotionCount) promotions.push(await load.takeActive());
    await Promise.all([writer(promotions), writer(promotions), reader()]);
  })();
  return {
    sent,
    readings,
    stop: async () => {
      isRunning = false;
      await working;
    },
    check: () => checkEvents(target, sent, readings),
  };
}

interface BatchChoice {
  sent: SentEvent[];
  promotions: readonly number[];
  random: Random;
  mayBeNew: boolean;
  isOpen(event: SentEvent): boolean;
}

const types = ['view', 'click', 'redeem'];

/** Open events first, then repeated ones, then new ones; in any order. */
function chooseBatch({ sent, promotions, random, mayBeNew, isOpen }: BatchChoice): SentEvent[] {
  const batch = new Set(sent.filter(isOpen).slice(0, batchSize));
  for (let place = batch.size; place < batchSize && sent.length > 0; place += 1) {
    if (random.next() < shareOfRepeated) batch.add(random.pick(sent));
  }
  while (mayBeNew && batch.size < batchSize) {
    const id = `chaos-event-${sent.length}`;
    const occurred_at = new Date(Date.now() - random.between(0, 172_800_000)).toISOString();
    const [type, promotion_id] = [random.pick(types), random.pick(promotions)];
    const made = { event: { id, type, promotion_id, visitor: `v${random.between(1, 50)}`, occurred_at }, statuses: [] };
    sent.push(made);
    batch.add(made);
  }
  return [...batch].sort(() => random.next() - 0.5);
}

/** @returns the status of each receipt; none without an answer */
async function post(target: Target, events: readonly object[]): Promise<string[]> {
  if (events.length === 0) return [];
  const body = JSON.stringify(events);
  const answer = await ask<{ receipts: { status: string }[] }>(target, '/events', { method: 'POST', body });
  return answer?.receipts.map(({ status }) => status) ?? [];
}

function get<Body>(target: Target, path: string): Promise<Body | undefined> {
  return ask<Body>(target, path, {});
}

async function ask<Body>(
  { url, credential, refused }: Target,
  path: string,
  init: { method?: string; body?: string },
): Promise<Body | undefined> {
  const headers = {
    ...(init.body && { 'content-type': 'application/json' }),
    ...(credential && { authorization: `Bearer ${credential}` }),
  };
  try {
    const response = await fetch(`${url}${path}`, { ...init, headers, signal: AbortSignal.timeout(responseTimeoutMs) });
    const body = (await response.json()) as Body;
    if (response.status < 500 && response.status !== 200) refused.add(`${path.split('?')[0]} was ${response.status}`);
    return response.status === 200 ? body : undefined;
  } catch {
    return undefined;
  }
}

async function checkEvents(
  target: Target,
  sent: readonly SentEvent[],
  { count, unbalanced }: EventStream['readings'],
): Promise<Check> {
  const breaches = [...unbalanced.map((sums) => `not balanced: ${sums}`), ...target.refused];
  for (const { event, statuses } of sent) {
    // "retry" may come again after "accepted": an owner must be asked, and does not answer.
    const final = statuses.filter((status) => status !== 'retry');
    const accepted = final.filter((status) => status === 'accepted').length;
    if (accepted > 1) breaches.push(`${event.id} was accepted ${accepted} times`);
    if (final.length === 0) breaches.push(`${event.id} ended with ${statuses.at(-1) ?? 'no receipt'}`);
    const others = final.filter((status) => status !== 'accepted' && status !== 'duplicate');
    if (others.length > 0) breaches.push(`${event.id} was ${others.join(', ')}`);
  }
  const byPromotion = Map.groupBy(sent, ({ event }) => event.promotion_id as number);
  for (const [promotion, events] of byPromotion) {
    const sums = await get<Record<string, number>>(target, `/statistics/reconciliation?promotion_id=${promotion}`);
    const counts = [sums?.accepted, sums?.counters, sums?.rows];
    if (counts.some((each) => each !== events.length))
      breaches.push(`promotion ${promotion}: ${events.length} events, counted ${counts.join(', ')}`);
    const views = events.filter(({ event }) => event.type === 'view');
    const visitors = new Set(views.map(({ event }) => event.visitor)).size;
    const query = `promotion_id=${promotion}&type=view&from=${new Date(Date.now() - 432_000_000).toISOString()}`;
    const totals = (await get<{ totals: { raw: number; unique: number } }>(target, `/statistics?${query}`))?.totals;
    if (totals?.raw !== views.length || totals.unique !== visitors)
      breaches.push(
        `promotion ${promotion}: ${views.length} views of ${visitors}, statistics ${JSON.stringify(totals)}`,
      );
  }
  if (sent.length === 0) breaches.push('no event was sent');
  if (count === 0) breaches.push('the reconciliation was never read');
  return {
    promise: 'each event is counted once, and the sums agree whenever they are read',
    examined: `${sent.length} events, ${count} readings`,
    breaches,
  };
}
