// Causes that are a load: too much of something.
import { setTimeout as sleep } from 'node:timers/promises';
import { createKey } from '../../services/gateway/src/callers/key-format.ts';
import { openInspector } from '../chaos/inspector.ts';
import { replicasOf } from '../chaos/replica-faults.ts';
import { type Cause, repeat } from './cause.ts';

const pauseMs = 20;

/** Deep pages, far more at a time than the gateway sends on. */
export const floodCostlyPages: Cause = ({ stack }) =>
  repeat(40, async () => {
    const headers = { authorization: `Bearer ${stack.credential}` };
    const response = await fetch(`${stack.url}/promotions?limit=100&offset=900000`, { headers });
    await response.arrayBuffer();
    await sleep(pauseMs);
  });

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
