// The health pages of a service: `/health` for people, `/health/live` and `/health/ready` for orchestrators
// (Kubernetes' probe semantics).
import express from 'express';
import { unavailable } from '../errors.ts';
import { allowGetOnly } from './app.ts';

export interface HealthInfo {
  app: string;
  version: string;
  environment: string;
}

interface HealthRoutes {
  info: HealthInfo;
  /** More members of `/health`, such as the size of the outbox, or another `status`. */
  details?(): Promise<object> | object;
  /** Throws, or returns false, while the service must get no requests. */
  isReady(): Promise<boolean> | boolean;
}

export function healthRoutes({ info, details = () => ({}), isReady }: HealthRoutes): express.Router {
  const router = express.Router({ caseSensitive: true });
  router.get('/health', async (_request, response) => {
    response.json({ status: 'ok', ...info, ...(await details()) });
  });
  router.get('/health/live', (_request, response) => {
    response.json({ status: 'ok' });
  });
  router.get('/health/ready', async (_request, response) => {
    if (!(await isReady())) throw unavailable('Not ready');
    response.json({ status: 'ok' });
  });
  for (const path of ['/health', '/health/live', '/health/ready']) router.all(path, allowGetOnly);
  return router;
}
