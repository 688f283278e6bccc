// The alert rules and the dashboard of deploy/observe: promtool accepts and tries the rules, what they name exists, and
// each alert has its paragraph, its tests and its cause. `npm run alerts` causes them on real processes.
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, test } from '@jest/globals';
import { services } from '@promopulse/shared/contracts/services';
import { parse } from 'yaml';
import { canHavePrometheus, promtool } from '../local/prometheus.ts';
import { causedAlerts, notCaused } from '../tools/alerts/causes.ts';
import { dashboardQueries, metricsIn } from '../tools/alerts/dashboard.ts';
import { observeFolder, readRules, shortenDurations } from '../tools/alerts/rules.ts';

const root = resolve(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

interface Rule {
  alert: string;
  expr: string;
  for?: string;
  labels: { severity: string };
  annotations: { summary: string; runbook: string };
}
const rules = (parse(readRules()) as { groups: { rules: Rule[] }[] }).groups.flatMap((group) => group.rules);
const alertNames = rules.map(({ alert }) => alert);
const compose = parse(read('docker-compose.yml'), { merge: true }) as {
  services: Record<string, { image: string; profiles?: string[]; volumes?: string[]; networks: string[] }>;
};

/** A histogram `x` has the series `x_bucket`, `x_sum` and `x_count`. The list itself is held by test/metrics.e2e. */
const documented = [...read('docs/metrics.md').matchAll(/^\| `(\w+)` \| (gauge|counter|histogram) \|/gm)].flatMap(
  ([, name = '', type]) => (type === 'histogram' ? ['bucket', 'sum', 'count'].map((end) => `${name}_${end}`) : [name]),
);

test('every metric of a rule and of the dashboard is one of docs/metrics.md', () => {
  const named = [
    ...rules.map(({ alert, expr }) => ({ place: alert, metrics: metricsIn(expr) })),
    ...dashboardQueries().map(({ panel, metrics }) => ({ place: panel, metrics })),
  ];
  const unknown = named.flatMap(({ place, metrics }) =>
    metrics.filter((name) => !documented.includes(name)).map((name) => `${place}: ${name}`),
  );
  expect(unknown).toEqual([]);
  expect(new Set(named.flatMap(({ metrics }) => metrics)).size).toBeGreaterThan(30);
});

test('a metric that is misspelt is found, and so is what is no PromQL', () => {
  expect(metricsIn('sum by (job) (rate(promopluse_dead_letters{job="users"}[5m])) > 0')).toEqual([
    'promopluse_dead_letters',
  ]);
  expect(() => metricsIn('sum by (job (up)')).toThrow('no PromQL');
});

test('alerts that a rule gives way to exist', () => {
  const named = rules.flatMap(({ expr }) =>
    [...expr.matchAll(/alertname=~?"PromoPulse(?:\(([^)]*)\)|(\w+))"/g)].flatMap(([, list, one]) =>
      (list ?? one ?? '').split('|').map((name) => `PromoPulse${name}`),
    ),
  );
  expect(named.length).toBeGreaterThan(10);
  expect(named.filter((name) => !alertNames.includes(name))).toEqual([]);
});

test('each alert has a severity, and a paragraph in the runbook', () => {
  const headings = [...read('docs/operations.md').matchAll(/^### (PromoPulse\w+)$/gm)].map(([, name]) => name);
  expect(headings.toSorted()).toEqual(alertNames.toSorted());
  for (const { alert, labels, annotations } of rules) {
    expect(['page', 'ticket']).toContain(labels.severity);
    expect(annotations.runbook).toBe(`docs/operations.md#${alert.toLowerCase()}`);
  }
});

test('each alert is caused by npm run alerts, or it is said why not', () => {
  const caused = causedAlerts.map(({ alert }) => alert);
  expect([...caused, ...Object.keys(notCaused)].toSorted()).toEqual(alertNames.toSorted());
});

test('each alert has figures that fire it and figures that do not', () => {
  const { tests } = parse(readFileSync(join(observeFolder, 'alerts.test.yml'), 'utf8')) as {
    tests: { alert_rule_test: { alertname: string; exp_alerts: unknown[] }[] }[];
  };
  const trials = tests.flatMap(({ alert_rule_test }) => alert_rule_test);
  for (const name of alertNames) {
    const own = trials.filter(({ alertname }) => alertname === name);
    expect([name, own.some(({ exp_alerts }) => exp_alerts.length > 0)]).toEqual([name, true]);
    expect([name, own.some(({ exp_alerts }) => exp_alerts.length === 0)]).toEqual([name, true]);
  }
});

test('npm run alerts shortens every duration of the rules, and nothing else', () => {
  const text = 'for: 1m\nexpr: rate(x[5m]) > 60 and increase(y[1h]) > 0 or z[10s]';
  expect(shortenDurations(text)).toBe('for: 10s\nexpr: rate(x[45s]) > 60 and increase(y[45s]) > 0 or z[2s]');
});

const withPromtool = canHavePrometheus() ? test : test.skip;

withPromtool(
  'promtool accepts the rules and the configuration, and the rules pass their tests',
  async () => {
    await promtool(['check', 'rules', 'alerts.yml'], { cwd: observeFolder });
    await promtool(['check', 'config', 'prometheus.yml'], { cwd: observeFolder });
    expect(await promtool(['test', 'rules', 'alerts.test.yml'], { cwd: observeFolder })).toContain('SUCCESS');
  },
  180_000,
);

withPromtool(
  'a rule that no longer fires fails its test',
  async () => {
    const broken = readRules().replace('promopulse_dead_letters) > 0', 'promopulse_dead_letters) > 1');
    const folder = mkdtempSync(join(tmpdir(), 'promopulse-alerts-'));
    try {
      writeFileSync(join(folder, 'alerts.yml'), broken);
      copyFileSync(join(observeFolder, 'alerts.test.yml'), join(folder, 'alerts.test.yml'));
      await expect(promtool(['test', 'rules', 'alerts.test.yml'], { cwd: folder })).rejects.toThrow(
        'PromoPulseDeadLetters',
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
  180_000,
);

test('Prometheus of Compose scrapes the gateway and every service, each as a job of its own', () => {
  const { scrape_configs } = parse(readFileSync(join(observeFolder, 'prometheus.yml'), 'utf8')) as {
    scrape_configs: { job_name: string; static_configs: { targets: string[]; labels: object }[] }[];
  };
  expect(scrape_configs).toEqual(
    ['gateway', ...services].map((name) => ({
      job_name: name,
      static_configs: [{ targets: [`${name}:9464`], labels: { application: 'promopulse' } }],
    })),
  );
});

test('the profile observe has Prometheus, Grafana and a store of traces, with the files of deploy/observe', () => {
  const observed = Object.entries(compose.services).filter(([, { profiles }]) => profiles?.includes('observe'));
  expect(observed.map(([name]) => name)).toEqual(['prometheus', 'grafana', 'traces']);
  for (const [, { image, volumes = [] }] of observed) {
    expect(image).toMatch(/^\$\{[A-Z]+_IMAGE:-[\w./-]+:v?\d+\.\d+[\w.-]*\}$/);
    for (const path of volumes.map((volume) => volume.split(':')[0] as string).filter((path) => path.startsWith('.'))) {
      expect(readdirSync(join(root, path, '..'))).toContain(path.split('/').at(-1));
    }
  }
  const sources = parse(read('deploy/observe/grafana/provisioning/datasources/promopulse.yml')) as {
    datasources: { uid: string; url: string }[];
  };
  const names = observed.map(([name]) => name);
  for (const { url } of sources.datasources) expect(names).toContain(new URL(url).hostname);
  const dashboard = read('deploy/observe/grafana/dashboards/promopulse.json');
  const uids = [...dashboard.matchAll(/"uid": "(\w+)"/g)].map(([, uid]) => uid);
  expect(
    uids.filter((uid) => uid !== 'promopulse' && !sources.datasources.some((source) => source.uid === uid)),
  ).toEqual([]);
});
