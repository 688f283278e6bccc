// Causes that are a load: too much of something.
import { setTimeout as sleep } from 'node:timers/promises';
import { createKey } from '../../services/gateway/src/callers/key-format.ts';
import { openInspector } from '../chaos/inspector.ts';
import { replicasOf } from '../chaos/replica-faults.ts';
import { type Cause, repeat, type Scene, type Undo } from './cause.ts';

const pauseMs = 20;
/** Of callers who are refused and come again much sooner than they are told. */
const refusedPauseMs = 250;

export function floodLists({ stack }: Scene, callers: number): Undo {
  return repeat(callers, async () => {
    const headers = { authorization: `Bearer ${stack.credential}` };
    await (await fetch(`${stack.url}/promotions`, { headers })).arrayBuffer();
    await sleep(refusedPauseMs);
  });
}

/** Each of so many callers edits a promotion of its own again and again. */
export async function editPromotions({ stack }: Scene, callers: number): Promise<Undo> {
  const headers = { authorization: `Bearer ${stack.credential}`, 'content-type': 'application/json' };
  const [start_at, end_at] = ['2026-01-01T00:00:00Z', '2036-01-01T00:00:00Z'];
  const drafts: string[] = [];
  while (drafts.length < callers) {
    const body = JSON.stringify({ name: 'Edited', start_at, end_at });
    const response = await fetch(`${stack.url}/promotions`, { method: 'POST', headers, body });
    drafts.push(`${stack.url}${response.headers.get('location')}`);
    await response.arrayBuffer();
  }
  return repeat(callers, async () => {
    const draft = drafts.shift() as string;
    const body = JSON.stringify({ name: `Edited ${Date.now()}` });
    try {
      await (await fetch(draft, { method: 'PATCH', headers, body })).arrayBuffer();
    } finally {
      drafts.push(draft);
    }
  });
}

/** Somebody tries keys that do not exist. */
export const failToAuthenticate: Cause = ({ stack }) =>
  repeat(2, async () => {
    const headers = { authorization: `Bearer ${createKey().secret}` };
    await (await fetch(`${stack.url}/promotions`, { headers })).arrayBuffer();
    await sleep(pauseMs);
  });

/** The thread of one process computes without a pause of more than a thousandth. */
export const keepBusy: Cause = async ({ stack }) => {
  const [, { inspector }] = replicasOf(stack, 'users');
  const { call, close } = await openInspector(inspector as number); // the run starts every replica with one
  const evaluate = (expression: string) => call('Runtime.evaluate', { expression });
  await evaluate('globalThis.busy = setInterval(() => { for (const t = Date.now(); Date.now() - t < 100; ); }, 1)');
  return async () => {
    await evaluate('clearInterval(globalThis.busy)');
    close();
  };
};
