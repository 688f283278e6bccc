// Faults of the network, injected by the proxies between the parts of the stack.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Inject, InjectionResult } from './injection.ts';
import type { NetworkProxy } from './network-proxy.ts';
import type { Stack } from './stack.ts';

const cutEveryMs = 300;
const slowLatencyMs = 60;

export function networkFault(act: (proxies: NetworkProxy[], holdMs: number) => Promise<InjectionResult>): Inject {
  return (stack, { target, holdMs }) => act(proxiesNamed(stack, target), holdMs);
}

/** @param target a proxy's name, in which `*` stands for any text @throws Error when there is none */
export function proxiesNamed({ proxies }: Stack, target: string): [NetworkProxy, ...NetworkProxy[]] {
  const [start = '', end] = target.split('*');
  const matching = proxies.filter(({ name }) =>
    end === undefined ? name === target : name.startsWith(start) && name.endsWith(end),
  );
  const [first, ...more] = matching;
  if (!first) throw new Error(`there is no proxy ${target}`);
  return [first, ...more];
}

/** Resets all connections, again and again. */
export async function cut(proxies: NetworkProxy[], holdMs: number): Promise<InjectionResult> {
  for (const until = Date.now() + holdMs; Date.now() < until; ) {
    for (const proxy of proxies) proxy.cut();
    await sleep(cutEveryMs);
  }
  return { recoverFrom: Date.now() };
}

export async function stall(proxies: NetworkProxy[], holdMs: number): Promise<InjectionResult> {
  for (const proxy of proxies) proxy.stall();
  await sleep(holdMs);
  for (const proxy of proxies) proxy.resume();
  return { recoverFrom: Date.now() };
}

/** The connections stay silent. Each end has to detect that itself. */
export async function dropSilently(proxies: NetworkProxy[]): Promise<InjectionResult> {
  for (const proxy of proxies) proxy.dropSilently();
  return { recoverFrom: Date.now() };
}

export async function slow(proxies: NetworkProxy[], holdMs: number): Promise<InjectionResult> {
  for (const proxy of proxies) proxy.setLatency(slowLatencyMs);
  await sleep(holdMs);
  for (const proxy of proxies) proxy.setLatency(0);
  return { recoverFrom: Date.now(), note: `latency +${slowLatencyMs} ms in each direction` };
}
