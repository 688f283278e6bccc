// The listener of the metrics, for Prometheus: a port of its own, because what it says is for operators only.
import type { RequestListener } from 'node:http';
import { type RunningServer, serve } from '../../http/server.ts';
import type { Logger } from '../../telemetry/logger.ts';
import { createMetrics, type Metrics } from '../../telemetry/metrics.ts';
import type { MetricsAddress } from '../listener-config.ts';

/** @returns undefined without METRICS_PORT: then nothing is measured */
export async function openMetrics({ METRICS_PORT }: MetricsAddress): Promise<Metrics | undefined> {
  return METRICS_PORT === undefined ? undefined : await createMetrics();
}

/**
 * Serves `GET /metrics`.
 * @throws the listen error, for example with code EADDRINUSE and the `variable` METRICS_PORT
 */
export async function serveMetrics(
  metrics: Metrics,
  { METRICS_PORT: port = 0, METRICS_HOST, HOST }: MetricsAddress & { HOST: string },
  log: Logger,
): Promise<RunningServer> {
  try {
    return await serve(answerWith(metrics, log), {
      host: METRICS_HOST ?? HOST,
      port,
      keepAliveTimeoutMs: 65_000, // longer than the usual interval of scrapes
      headersTimeoutMs: 5_000,
      requestTimeoutMs: 5_000,
    });
  } catch (error) {
    throw Object.assign(error as Error, { variable: 'METRICS_PORT' });
  }
}

function answerWith(metrics: Metrics, log: Logger): RequestListener {
  return async ({ method, url = '' }, response) => {
    const isMetrics = url.split('?')[0] === '/metrics';
    if (!isMetrics) response.writeHead(404).end();
    else if (method !== 'GET' && method !== 'HEAD') response.writeHead(405, { Allow: 'GET, HEAD' }).end();
    else {
      try {
        const text = await metrics.collect();
        const headers = { 'Content-Type': metrics.contentType, 'Content-Length': Buffer.byteLength(text) };
        response.writeHead(200, headers).end(method === 'HEAD' ? undefined : text);
      } catch (error) {
        log.error({ err: error }, 'the metrics cannot be collected');
        response.writeHead(500).end();
      }
    }
  };
}
