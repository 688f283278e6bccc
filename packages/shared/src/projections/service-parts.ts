// The projections as parts of a service: their environment variables, the consumer of the owners' events, the clients of
// the owners, and what reads the owners again.
import { z } from 'zod';
import { type InternalUrlVariable, internalUrlVariable, type ServiceName } from '../contracts/services.ts';
import type { ServiceContext, ServiceParts } from '../service.ts';
import { measureClientRequests } from '../telemetry/request-durations.ts';
import type { Projections } from './definition.ts';
import { projectionConsumer } from './events/consumer.ts';
import { measureProjections, ProjectionCounts } from './projection-metrics.ts';
import { internalProjectionRoutes } from './projection-routes.ts';
import { OwnerClient, type OwnerClients } from './reading/owner-client.ts';
import { describeProjections, invalidateAll, Reconciliation } from './reading/reconciliation.ts';

const milliseconds = (min: number, max: number, fallback: number) =>
  z.coerce.number().int().min(min).max(max).default(fallback);
const httpUrl = z.url({ protocol: /^https?$/, error: 'must be an http:// URL' });

const readingConfig = {
  /** How long, in milliseconds, a confirmed state of an owner is relied on: the bound of invariant 4. */
  FRESHNESS_LEASE_MS: milliseconds(1_000, 60_000, 5_000),
  OWNER_TIMEOUT_MS: milliseconds(10, 10_000, 500),
  BREAKER_RESET_MS: milliseconds(100, 60_000, 2_000),
  RECONCILE_INTERVAL_MS: milliseconds(1_000, 86_400_000, 3_600_000),
};

type UrlConfig<Owner extends ServiceName> = Record<InternalUrlVariable<Owner>, typeof httpUrl>;
type ReadingSettings = z.infer<z.ZodObject<typeof readingConfig>>;
type Settings<Owner extends ServiceName> = ReadingSettings & Record<InternalUrlVariable<Owner>, string>;

/** For `config` of the service's definition: the internal listener of each owner, and how the owners are read. */
export function projectionConfig<Owner extends ServiceName>({
  all,
}: Projections<Owner>): typeof readingConfig & UrlConfig<Owner> {
  const urls = Object.fromEntries(all.map(({ owner }) => [internalUrlVariable(owner), httpUrl])) as UrlConfig<Owner>;
  return { ...urls, ...readingConfig };
}

interface ProjectionParts<Owner extends ServiceName> {
  /** To ask an owner about single rows. */
  clients: OwnerClients<Owner>;
  /** How long, in seconds, a confirmed state is relied on. */
  leaseSeconds: number;
  /** The parts of the service that keep the projections. */
  parts: Required<Omit<ServiceParts, 'routes'>>;
}

export function projectionParts<Owner extends ServiceName>(
  projections: Projections<Owner>,
  { config, database, broker, log, metrics }: ServiceContext<Settings<Owner>>,
): ProjectionParts<Owner> {
  const onAnswer = metrics && measureClientRequests(metrics);
  const clients = clientsOf(projections, config, onAnswer);
  const all = Object.values<OwnerClient>(clients);
  const counts = new ProjectionCounts(projections);
  if (metrics) measureProjections(metrics, { database, clients: all, counts });
  const intervalMs = config.RECONCILE_INTERVAL_MS;
  const reconciliation = new Reconciliation({ database, clients: all, intervalMs, log, counts });
  const onInvalidated = (): void => reconciliation.wake();
  return {
    clients,
    leaseSeconds: config.FRESHNESS_LEASE_MS / 1000,
    parts: {
      internalRoutes: internalProjectionRoutes(database, projections),
      consumers: [projectionConsumer({ projections, database, broker, log, counts, onInvalidated })],
      health: async () => ({ projections: await describeProjections(database, projections) }),
      prepare: () => invalidateAll(database, projections),
      start: () => reconciliation.start(),
    },
  };
}

function clientsOf<Owner extends ServiceName>(
  { all }: Projections<Owner>,
  config: Settings<Owner>,
  onAnswer: ReturnType<typeof measureClientRequests> | undefined,
): OwnerClients<Owner> {
  const { OWNER_TIMEOUT_MS: timeoutMs, BREAKER_RESET_MS: resetMs } = config;
  const urls: Readonly<Record<string, unknown>> = config;
  const clients = all.map((projection) => {
    const url = String(urls[internalUrlVariable(projection.owner)]);
    return [projection.owner, new OwnerClient(projection, { url, timeoutMs, resetMs, onAnswer })];
  });
  return Object.fromEntries(clients);
}
