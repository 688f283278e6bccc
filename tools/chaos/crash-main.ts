// Runs a service as its own main.ts does, with the crash points around it. A parent process that forked it sends a
// CrashPlan as a message; it gets a CrashReport when the plan is armed and for each request that reaches the point.
// By hand, the following command runs promotions, which dies at the first event after a SIGUSR2:
//   node tools/chaos/crash-main.ts promotions publish-confirmed
import { runProcess } from '@promopulse/shared/process';
import { startService } from '@promopulse/shared/service';
import { loadService } from '../../local/services.ts';
import { crashDecoration } from './crash-decoration.ts';
import { type CrashPlan, crashPoints } from './crash-points.ts';
import { CrashTrigger } from './crash-trigger.ts';

/** From this process to the one that forked it. */
export type CrashReport = { armed: true } | { reached: string; requestId: string };

const report = (message: CrashReport): void => void process.send?.(message);
const trigger = new CrashTrigger((reached, requestId) => report({ reached, requestId }));

const [name, pointName] = process.argv.slice(2);
const point = crashPoints.find((each) => each.name === pointName)?.name;
if (!name || (pointName && !point)) throw new Error('usage: crash-main.ts SERVICE [CRASH-POINT]');
const definition = await loadService(name);
if (point) process.on('SIGUSR2', () => trigger.arm({ point, failure: 'die' }));
process.on('message', (plan) => {
  trigger.arm(plan as CrashPlan);
  report({ armed: true });
});
process.on('disconnect', () => void process.kill(process.pid, 'SIGTERM')); // the parent has ended without a stop

await runProcess(`${name} service`, () =>
  startService(definition, process.env, { decorate: crashDecoration(trigger) }),
);
