// `npm run openapi` writes docs/openapi.json: the document that the gateway of this checkout serves. It is made from the
// tables of routes, without a server and without a database. test/openapi.e2e.test.ts fails when the file is not current.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { internalServiceUrls, serviceUrls } from '@promopulse/shared/contracts/services';
import { describeApi } from '@promopulse/shared/http/openapi/document';
import type { ServiceContext, ServiceDefinition } from '@promopulse/shared/service';
import { loadServiceConfig } from '@promopulse/shared/service/service-config';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { loadServices } from '../local/services.ts';
import packageJson from '../services/gateway/package.json' with { type: 'json' };
import { mergeParts, partOf } from '../services/gateway/src/pages/openapi.ts';
import { listUpstreams, type Upstream } from '../services/gateway/src/proxy/upstreams.ts';
import { generateFernetKey } from '../services/users/src/personal-data/fernet.ts';

const unusedUrl = 'http://127.0.0.1:9';
const env = {
  ...serviceUrls(() => unusedUrl),
  ...internalServiceUrls(() => unusedUrl),
  DATABASE_URL: 'postgres://unused@127.0.0.1:9/unused',
  PII_ENCRYPTION_KEYS: generateFernetKey(),
  PII_INDEX_KEY: generateFernetKey(),
};

/** A table of routes needs no database: nothing is read or sent before a request. Promotions only listens for replies. */
function documentOf(definition: ServiceDefinition): Record<string, unknown> {
  const context = {
    config: loadServiceConfig(env, definition, { usesRabbit: false }),
    broker: { onReply: () => undefined },
    log: createLogger({ service: 'openapi', level: 'silent' }),
  };
  const { routes } = definition.parts(context as unknown as ServiceContext<Record<string, unknown>>);
  return describeApi(routes, definition) as Record<string, unknown>;
}

const upstreams = listUpstreams(env as unknown as Parameters<typeof listUpstreams>[0]);
const parts = (await loadServices()).map((definition, index) =>
  partOf(documentOf(definition), upstreams[index] as Upstream),
);
const document = mergeParts(parts, upstreams, { version: packageJson.version });
writeFileSync(
  join(import.meta.dirname, '..', process.argv[2] ?? 'docs/openapi.json'),
  `${JSON.stringify(document, null, 2)}\n`,
);
process.exit(); // clients of the owners keep timers
