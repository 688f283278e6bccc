// `npm run alerts`: two replicas of every part under a load, and a real Prometheus with the rules of deploy/observe, whose
// durations are shortened. It causes what each alert is for, one after another. The exit code is 0 only when each time
// this alert fires and no other one does, everything falls silent again, and every query of the dashboard is valid.
//   --only A,B     these alerts only        --short   the four alerts that CI tries
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { withClient } from '@promopulse/shared/database/provision';
import { type Lifecycle, runLifecycle } from '../../local/lifecycle.ts';
import { type LocalPrometheus, startPrometheus } from '../../local/prometheus.ts';
import { seededRandom } from '../../local/random.ts';
import { makeCanary } from '../chaos/canary.ts';
import { startLoad } from '../chaos/load.ts';
import { type Stack, startStack } from '../chaos/stack.ts';
import type { Scene } from './cause.ts';
import { causedAlerts, notCaused } from './causes.ts';
import { dashboardQueries, occasionalMetrics } from './dashboard.ts';
import { readRules, shortenDurations } from './rules.ts';

const perSecond = 30;
/** The rates of the rules need some scrapes before they have a value. */
const steadyMs = 20_000;
const fireTimeoutMs = 150_000;
const silentTimeoutMs = 180_000;
/** What else would fire by the same cause has this long, after the alert. */
const watchMs = 15_000;
const pollEveryMs = 500;

const { values } = parseArgs({ options: { only: { type: 'string' }, short: { type: 'boolean', default: false } } });
const chosen = causedAlerts.filter(({ alert, isShort }) =>
  values.only ? values.only.split(',').includes(alert) : !values.short || isShort,
);
if (chosen.length === 0) throw new Error(`--only names alerts: ${causedAlerts.map(({ alert }) => alert).join(', ')}`);

await runLifecycle(async (lifecycle) => {
  const { say, print, keep, folder } = lifecycle;
  // Rows are compared with their owner every ten seconds, so that a lost one is noticed within the run.
  const settings = { RECONCILE_INTERVAL_MS: '10000' };
  const stack = await startStack(lifecycle, { settings, measured: true, inspected: true, asksCallers: true });
  const write = (targets: 'none' | 'all'): void => writeConfiguration(stack, folder, targets);
  write('all');
  const prometheus = await startPrometheus(folder, say, keep);
  say(`Prometheus scrapes two replicas of every part: ${prometheus.url}; logs in ${folder}`);
  const { url, credential } = stack;
  const load = startLoad({ url, credential, perSecond, random: seededRandom(1), canary: makeCanary(seededRandom(2)) });
  keep(() => load.stop());
  await sleep(steadyMs);
  const breaches = await checkDashboard(prometheus, lifecycle);
  breaches.push(...(await prometheus.firing()).map((name) => `before any cause ${name} fires`));
  await withClient(stack.databaseUrl(), async (sql) => {
    const scrape: Scene['scrape'] = (targets) => {
      write(targets);
      prometheus.reload();
    };
    const scene: Scene = { stack, load, sql, scrape };
    for (const each of chosen) {
      if (lifecycle.isStopping()) return;
      breaches.push(...(await tryAlert(each, { scene, prometheus, say })));
    }
  });
  if (lifecycle.isStopping()) return 130;
  for (const [name, reason] of Object.entries(notCaused)) print(`${name} was not caused: ${reason}`);
  for (const breach of breaches) print(`BROKEN  ${breach}`);
  print(`${chosen.length} alerts, ${breaches.length === 0 ? 'each fired for its cause, and no other' : 'see above'}`);
  if (breaches.length > 0) lifecycle.keepFolder();
  return breaches.length === 0 ? 0 : 1;
});

interface Trial {
  scene: Scene;
  prometheus: LocalPrometheus;
  say: Lifecycle['say'];
}

/** @returns what was not as it must be */
async function tryAlert(
  { alert, cause, also = [] }: (typeof causedAlerts)[number],
  { scene, prometheus, say }: Trial,
): Promise<string[]> {
  const expected = [alert, ...also];
  const seen = new Set<string>();
  const firing = async (): Promise<string[]> => {
    const names = await prometheus.firing();
    for (const name of names) seen.add(name);
    return names;
  };
  const [began, breaches] = [Date.now(), [] as string[]];
  const undo = await cause(scene);
  const fires = await within(fireTimeoutMs, async () => (await firing()).includes(alert));
  const fireSeconds = ((Date.now() - began) / 1_000).toFixed(0);
  await within(watchMs, async () => {
    await firing();
    return false;
  });
  await undo?.();
  const undone = Date.now();
  const silent = await within(silentTimeoutMs, async () => (await firing()).length === 0);
  const silentSeconds = ((Date.now() - undone) / 1_000).toFixed(0);
  const others = [...seen].filter((name) => !expected.includes(name));
  if (!fires) breaches.push(`${alert} has not fired within ${fireTimeoutMs / 1_000} s`);
  if (!silent) breaches.push(`after ${alert} there still fire: ${(await prometheus.firing()).join(', ')}`);
  if (others.length > 0) breaches.push(`with the cause of ${alert} fired too: ${others.join(', ')}`);
  say(
    `${alert}: fires after ${fireSeconds} s, silent ${silentSeconds} s after the cause; ${breaches.join('; ') || 'alone'}`,
  );
  return breaches;
}

/** @returns whether the condition came true in time */
async function within(ms: number, condition: () => Promise<boolean>): Promise<boolean> {
  for (const deadline = Date.now() + ms; Date.now() < deadline; await sleep(pollEveryMs)) {
    if (await condition()) return true;
  }
  return false;
}

/** Every query must be valid, and every metric in it must have a series now. */
async function checkDashboard(prometheus: LocalPrometheus, { say }: Lifecycle): Promise<string[]> {
  const breaches: string[] = [];
  const queries = dashboardQueries();
  let empty = 0;
  for (const { panel, query, metrics } of queries) {
    try {
      if ((await prometheus.count(query)) === 0) empty += 1;
      for (const metric of metrics) {
        if (occasionalMetrics.includes(metric)) continue;
        if ((await prometheus.count(metric)) === 0) breaches.push(`dashboard, ${panel}: there is no ${metric}`);
      }
    } catch (error) {
      breaches.push(`dashboard, ${panel}: ${(error as Error).message}`);
    }
  }
  say(`the dashboard has ${queries.length} queries, ${empty} of them with nothing to show now`);
  return breaches;
}

function writeConfiguration({ replicas }: Stack, folder: string, targets: 'none' | 'all'): void {
  const jobs = Map.groupBy(targets === 'all' ? replicas : [], ({ part }) => part);
  const configuration = {
    global: { scrape_interval: '2s', scrape_timeout: '2s', evaluation_interval: '1s' },
    rule_files: ['alerts.yml'],
    scrape_configs: [...jobs].map(([job, members]) => ({
      job_name: job,
      static_configs: [
        {
          targets: members.map(({ metricsPort }) => `127.0.0.1:${metricsPort}`),
          labels: { application: 'promopulse' },
        },
      ],
    })),
  };
  writeFileSync(join(folder, 'alerts.yml'), shortenDurations(readRules()));
  writeFileSync(join(folder, 'prometheus.yml'), JSON.stringify(configuration)); // JSON is YAML
}
