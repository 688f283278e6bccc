// Runs a service as its own main.ts does, with the crash points of crash-points.ts around it. Whoever forked it sends
// a plan by message and hears that it is armed, and who has reached the point. By hand:
//   node tools/chaos/crash-main.ts promotions publish-confirmed
// dies there at the first event after a SIGUSR2.
import { runProcess } from '@promopulse/shared/process';
import { startService } from '@promopulse/shared/service';
import { loadService } from '../../local/services.ts';
import { type CrashPlan, crashPoints, createCrashPoints } from './crash-points.ts';

/** From this process to the one that forked it. */
export type CrashReport = { armed: true } | { reached: string; requestId: string };

const report = (message: CrashReport): void => void process.send?.(message);
const { decorate, arm } = createCrashPoints((reached, requestId) => report({ reached, requestId }));

const [name, wanted] = process.argv.slice(2);
const point = crashPoints.find((each) => each.name === wanted)?.name;
if (!name || (wanted && !point)) throw new Error('give a service, and a crash point to die at');
const definition = await loadService(name);
if (point) process.on('SIGUSR2', () => arm({ point, failure: 'die' }));
process.on('message', (plan) => {
  arm(plan as CrashPlan);
  report({ armed: true });
});
process.on('disconnect', () => void process.kill(process.pid, 'SIGTERM')); // nobody is there any more to stop it

await runProcess(`${name} service`, () => startService(definition, process.env, { decorate }));
