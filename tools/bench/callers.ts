// Measures what keys, tokens and limits cost a request through the gateway. Two stacks run, each on a database of its own:
// one with AUTH=off, and one with AUTH=required and a limit that counts every request and refuses none.
import { randomBytes } from 'node:crypto';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { makeKey } from '../../services/gateway/src/callers/first-key.ts';
import { audience, startTokenIssuer } from '../../services/gateway/test/token-issuer.ts';
import { resetData, type Sizes } from './data.ts';
import { type EndpointName, targetOf } from './endpoints.ts';
import type { Row, Section } from './report.ts';
import { connections } from './requests.ts';
import { type Case, interleave, type Plan, type Round, ratio } from './rounds.ts';
import { type BenchDatabase, createBenchDatabase, type Servers, type Started, startParts } from './stack.ts';
import { loadHttp } from './wrk.ts';

const parts = ['promotions', 'subscriptions', 'gateway'];
const endpoints = { get: 'promotions', post: 'subscriptions' } as const satisfies Partial<Record<EndpointName, string>>;
const scopes = ['promotions:read', 'subscriptions:write'] as const;
/** A credential may add this share to the CPU time of the gateway and the service together. */
const maxCpuRatio = 1.15;

interface Client {
  /** Last word of a case's name. */
  name: string;
  database: BenchDatabase;
  stack: Record<string, Started>;
  credential?: string;
}

export async function measureCallers(servers: Servers, sizes: Sizes, plan: Plan): Promise<Section> {
  const { clients, stop } = await startClients(servers, sizes);
  const methods = Object.keys(endpoints) as (keyof typeof endpoints)[];
  const cases = methods.flatMap((method) => clients.map((client) => caseOf(servers, method, client)));
  const rounds = await interleave(cases, plan);
  const rows = methods.flatMap((method) =>
    ['key', 'token'].map((name): Row => {
      const cpu = (round: Round): number => (round.cpu.gateway ?? 0) + (round.cpu.service ?? 0);
      return {
        measure: 'cost of callers and limits',
        what: `${method.toUpperCase()} through the gateway: CPU with a ${name} / AUTH=off`,
        value: ratio(rounds[`${method} with ${name}`], rounds[`${method} with off`], cpu),
        goal: { atMost: maxCpuRatio },
      };
    }),
  );
  await stop();
  return { name: 'callers', rows, cases: rounds, skipped: [] };
}

function caseOf(servers: Servers, method: keyof typeof endpoints, { name, database, stack, credential }: Client): Case {
  const service = endpoints[method];
  const target = targetOf(method, stack.gateway?.url ?? '', database.sizes);
  return {
    name: `${method} with ${name}`,
    components: () => ({
      gateway: stack.gateway?.pid ?? 0,
      service: stack[service]?.pid ?? 0,
      postgres: servers.postgresPid,
    }),
    prepare: () => resetData(database.sql, service, database.sizes),
    run: (seconds) =>
      loadHttp(servers.folder, { ...target, ...(credential && { credential }) }, { connections, seconds }),
  };
}

async function startClients(servers: Servers, sizes: Sizes) {
  const issuer = await startTokenIssuer();
  servers.keep(() => issuer.close());
  const open = await createBenchDatabase(servers, 'open', sizes);
  const guarded = await createBenchDatabase(servers, 'guarded', sizes);
  const env = {
    AUTH: 'required',
    ACTOR_KEYS: randomBytes(32).toString('base64url'),
    RATE_LIMITS: 'bench=1000000/10s',
    OIDC_ISSUER: issuer.url,
    OIDC_AUDIENCE: audience,
    OIDC_SUBJECT_KEY: randomBytes(32).toString('base64url'),
  };
  const key = await makeKey(
    { DATABASE_URL: guarded.urls.gateway },
    createLogger({ service: 'bench', level: 'warn' }),
    { name: 'bench', scopes: [...scopes], expires_at: null },
    { onlyFirst: false },
  );
  if (!key) throw new Error('no key was made');
  const token = await issuer.token({
    claims: { scope: scopes.join(' '), exp: Math.floor(Date.now() / 1_000) + 3_600 },
  });
  const stacks = [await startParts(servers, open, parts), await startParts(servers, guarded, parts, { env })] as const;
  const clients: Client[] = [
    { name: 'off', database: open, stack: stacks[0] },
    { name: 'key', database: guarded, stack: stacks[1], credential: key.secret },
    { name: 'token', database: guarded, stack: stacks[1], credential: token },
  ];
  const stop = async (): Promise<void> => {
    for (const stack of stacks) await Promise.all(Object.values(stack).map((part) => part.stop()));
    await issuer.close();
  };
  return { clients, stop };
}
