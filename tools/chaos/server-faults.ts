// Faults of PostgreSQL and RabbitMQ.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Inject, Injection, InjectionResult } from './injection.ts';
import type { Stack } from './stack.ts';

export async function restartRabbit({ rabbit }: Stack, { holdMs }: Injection): Promise<InjectionResult> {
  await rabbit.ctl(['stop_app']);
  await sleep(holdMs);
  await rabbit.ctl(['start_app']);
  return { recoverFrom: Date.now() };
}

/** SIGKILL: data that were not yet on the disk are lost, and no connection is closed in order. */
export async function crashRabbit({ rabbit }: Stack, { holdMs }: Injection): Promise<InjectionResult> {
  await rabbit.kill();
  await sleep(holdMs);
  await rabbit.start();
  return { recoverFrom: Date.now() };
}

/** During a memory alarm RabbitMQ blocks publishing connections: it reads nothing from them. */
export async function raiseRabbitAlarm({ rabbit }: Stack, { holdMs }: Injection): Promise<InjectionResult> {
  await rabbit.ctl(['set_vm_memory_high_watermark', '0.00001']);
  await sleep(holdMs);
  await rabbit.ctl(['set_vm_memory_high_watermark', '0.4']);
  return { recoverFrom: Date.now() };
}

export function restartPostgres(how: 'fast' | 'immediate' | 'kill'): Inject {
  return async ({ postgres }, { holdMs }) => {
    await postgres.stop(how);
    await sleep(holdMs);
    await postgres.start();
    return { recoverFrom: Date.now() };
  };
}
