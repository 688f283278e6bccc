// What a service and the gateway both measure. This module loads no driver of a database.
import type { ResponseBudget } from '../../http/response-budget.ts';
import type { Metrics } from '../../telemetry/metrics.ts';

export function measureBuild(metrics: Metrics, { name, version }: { name: string; version: string }): void {
  metrics.gauge({ name: 'promopulse_build_info', help: 'Name and version of the process. Its value is 1.' }, () => [
    [{ service: name, version }, 1],
  ]);
}

/** Of the listeners of a service, by name. */
export function measureListeners(
  metrics: Metrics,
  listeners: Readonly<Record<string, { inFlight(): number }>>,
  budget?: ResponseBudget,
): void {
  metrics.gauge({ name: 'http_server_active_requests', help: 'Requests whose response has not ended.' }, () =>
    Object.entries(listeners).map(([listener, server]) => [{ listener }, server.inFlight()]),
  );
  if (!budget) return;
  metrics.gauge(
    { name: 'promopulse_unread_response_bytes', help: 'Bytes of large responses that clients have not taken yet.' },
    () => budget.figures().bytes,
  );
  metrics.gauge(
    { name: 'promopulse_unread_response_max_bytes', help: 'The most of these bytes; 503 overloaded beyond.' },
    () => budget.figures().maxBytes,
  );
}
