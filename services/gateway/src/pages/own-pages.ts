// The gateway's own pages, behind the steps: health, documentation, the API document, and the routes of API keys.
import { translateDatabaseError } from '@promopulse/shared/database/sqlstate';
import { allowGetOnly, createApp, errorHandler, notFoundRoute } from '@promopulse/shared/http/app';
import { addRoutes } from '@promopulse/shared/http/routes';
import type { Logger } from '@promopulse/shared/telemetry/logger';
import type { Callers } from '../callers/callers.ts';
import { metadataPath, metadataRoute } from '../callers/challenge.ts';
import { keyRoutes } from '../callers/key-routes.ts';
import type { GatewayConfig } from '../config.ts';
import { confirmCaller } from '../edge/authenticate.ts';
import { withPublicPrefix } from '../edge/public-url.ts';
import type { Step } from '../edge/steps.ts';
import type { UpstreamProxy } from '../proxy/proxy.ts';
import { createDocsRoutes } from './docs.ts';
import { createHealthRoutes } from './health.ts';
import { createDocumentBodies, createDocumentSource } from './openapi.ts';
import { checkPageConditions } from './page-conditions.ts';

interface PagesOptions {
  version: string;
  config: GatewayConfig;
  log: Logger;
  proxies: readonly UpstreamProxy[];
  /** Undefined with AUTH=off and AUTH=external: there are no keys. */
  callers: Callers | undefined;
  isStopping(): boolean;
}

/** Answers every request that no service owns: with a page of the gateway, or 404. */
export function ownPages({ version, config, log, proxies, callers, isStopping }: PagesOptions): Step {
  const document = createDocumentSource(
    proxies.map(({ upstream }) => upstream),
    { version, publicUrl: config.PUBLIC_URL },
  );
  const bodyOf = createDocumentBodies(config.PUBLIC_URL);
  const info = { app: 'PromoPulse', version, environment: config.ENVIRONMENT };
  const app = createApp();
  app.use(checkPageConditions);
  app.use(createHealthRoutes({ info, proxies, isStopping }));
  app.get('/', (request, response) => response.redirect(302, withPublicPrefix(request, '/docs')));
  app.get('/openapi.json', async (request, response) => {
    response.type('json').send(bodyOf(await document(), withPublicPrefix(request, '/')));
  });
  app.use(createDocsRoutes(withPublicPrefix));
  if (callers) app.get(metadataPath, metadataRoute(config.PUBLIC_URL, callers.issuer)).all(metadataPath, allowGetOnly);
  addRoutes(app, keyRoutes(callers), { confirm: confirmCaller });
  for (const path of ['/', '/openapi.json']) app.all(path, allowGetOnly);
  app.use(notFoundRoute, errorHandler(log, translateDatabaseError));
  return (request, response) => app(request, response);
}
