// `/health` for people, `/health/live` and `/health/ready` for orchestrators.
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
  /** Anything to show besides, such as the outbox's backlog. */
  details?(): Promise<object> | object;
  /** Throws, or answers false, while requests should go elsewhere. */
  isReady(): Promise<boolean> | boolean;
}

/** `/health` for people, `/health/live` and `/health/ready` for orchestrators (Kubernetes' probe semantics). */
export function healthRoutes({ info, details = () => ({}), isReady }: HealthRoutes): express.Router {
  const router = express.Router();
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
  router.all(['/health', '/health/live', '/health/ready'], allowGetOnly);
  return router;
}
