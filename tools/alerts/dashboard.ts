// The queries of the Grafana dashboard, and of the alert rules, with the metrics that they name.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parser } from '@prometheus-io/lezer-promql';
import { observeFolder } from './rules.ts';

interface DashboardQuery {
  /** Title of the panel. */
  panel: string;
  /** With a range in place of Grafana's variable. */
  query: string;
  metrics: string[];
}

interface Panel {
  title: string;
  targets?: { expr: string }[];
}

export function dashboardQueries(): DashboardQuery[] {
  const file = join(observeFolder, 'grafana/dashboards/promopulse.json');
  const { panels } = JSON.parse(readFileSync(file, 'utf8')) as { panels: Panel[] };
  return panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr }) => {
      const query = expr.replaceAll('$__rate_interval', '1m');
      return { panel: title, query, metrics: metricsIn(query) };
    }),
  );
}

/** They have no series without an issuer of tokens, and before the first costly statement. */
export const occasionalMetrics = ['promopulse_gateway_token_keys_age_seconds', 'promopulse_lane_waiting_statements'];

/** What Prometheus makes itself: no process has it. */
const ownMetrics = ['up', 'ALERTS'];

/** The metrics of processes in an expression. @throws Error when it is no PromQL */
export function metricsIn(expression: string): string[] {
  const names = new Set<string>();
  parser.parse(expression).iterate({
    enter: ({ type, from, to }) => {
      if (type.isError) throw new Error(`no PromQL at ${from}: ${expression}`);
      // The other child of a selector are its matchers.
      if (type.name === 'VectorSelector') names.add(expression.slice(from, to).replace(/\{.*$/s, ''));
    },
  });
  return [...names].filter((name) => !ownMetrics.includes(name));
}
