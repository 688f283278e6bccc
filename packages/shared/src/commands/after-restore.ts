// The operator's command after a service's database was restored from a backup, while the service is stopped:
// `npm run after-restore -- users`. It begins a new epoch, so that consumers read the owner again instead of believing
// what they hold, and raises the ids above every id that is known anywhere, so that none is given twice.
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { ConfigError, loadConfig } from '../config.ts';
import { hasQueue } from '../contracts/queues.ts';
import { internalUrlVariable, type ServiceName, services, withInternalUrls } from '../contracts/services.ts';
import { projectionSummary } from '../contracts/snapshot.ts';
import { type Database, databaseConfig, openDatabase } from '../database/database.ts';
import { Lease, tryLease } from '../database/lease.ts';
import { changeEpoch } from '../outbox/epoch.ts';
import { OutboxMessage } from '../outbox/outbox.ts';
import { Publication } from '../outbox/publication.ts';
import { explainStartError } from '../process.ts';

const usage = `Usage: after-restore <service> [--without <neighbour>]
  <service>    whose database was restored: ${services.join(', ')}. All its replicas must be stopped.
  --without    goes on without the ids that this neighbour has seen
Reads DIRECT_DATABASE_URL or else DATABASE_URL, and the URL of the internal listener of each neighbour that consumes
events, such as SUBSCRIPTIONS_INTERNAL_URL (by default SUBSCRIPTIONS_URL with its port plus 1000). Each variable may be
given as NAME_FILE.`;

const answerTimeoutMs = 10_000;

const nothingProjected = z.object({ status: z.literal(404), code: z.string(), request_id: z.string() });

interface Command {
  service: ServiceName;
  neighbours: ServiceName[];
}

/** @throws ConfigError with the usage */
function readCommand(args: string[]): Command {
  try {
    const { positionals, values } = parseArgs({
      args,
      allowPositionals: true,
      options: { without: { type: 'string', multiple: true, default: [] } },
    });
    const [service, ...rest] = positionals.map(serviceOf);
    if (!service || rest.length > 0) throw new ConfigError(usage);
    const without = values.without.map(serviceOf);
    const neighbours = services.filter((name) => name !== service && hasQueue(name) && !without.includes(name));
    return { service, neighbours };
  } catch {
    throw new ConfigError(usage);
  }
}

function serviceOf(name: string): ServiceName {
  const service = services.find((each) => each === name);
  if (!service) throw new ConfigError(usage);
  return service;
}

async function run(args: string[]): Promise<void> {
  const { service, neighbours } = readCommand(args);
  const urlSchemas = neighbours.map((neighbour) => [internalUrlVariable(neighbour), z.url({ protocol: /^https?$/ })]);
  const { DATABASE_URL, DIRECT_DATABASE_URL } = databaseConfig;
  const schema = z.object({ DATABASE_URL, DIRECT_DATABASE_URL, ...Object.fromEntries(urlSchemas) });
  const urls = loadConfig(schema, withInternalUrls(process.env)) as Record<string, string>;
  const url = String(urls.DIRECT_DATABASE_URL ?? urls.DATABASE_URL);
  const entities = [OutboxMessage, Publication, Lease];
  const database = await openDatabase({ url, schema: service, entities, migrations: '' });
  try {
    // The lease of the relay's leader: a service that runs has it, and one that starts now waits for it.
    const lease = await tryLease(database, 'relay');
    if (!lease) throw new Error(`The ${service} service is running. Stop all its replicas first.`);
    try {
      const known = await Promise.all(
        neighbours.map((name) => highestIdAt(name, String(urls[internalUrlVariable(name)]), service)),
      );
      await beginEpoch(database, Math.max(0, ...known));
    } finally {
      await lease.release();
    }
  } finally {
    await database.close();
  }
}

/** @throws Error when the neighbour does not answer as expected */
async function highestIdAt(neighbour: ServiceName, url: string, service: ServiceName): Promise<number> {
  try {
    const response = await fetch(`${url.replace(/\/$/, '')}/internal/projections/${service}`, {
      signal: AbortSignal.timeout(answerTimeoutMs),
    });
    const body: unknown = await response.json();
    if (response.status === 404 && nothingProjected.safeParse(body).success) {
      print(`${neighbour} holds nothing of ${service}.`);
      return 0;
    }
    if (!response.ok) throw new Error(`status ${response.status}`);
    const { highest_id, lost, subscriptions_of_lost } = projectionSummary.parse(body);
    print(`${neighbour} has seen ids of ${service} up to ${highest_id}.`);
    if (lost > 0) {
      print(
        `${neighbour} holds ${lost} of ${service} that were lost before, and ${subscriptions_of_lost} subscriptions of these.`,
      );
    }
    return highest_id;
  } catch (error) {
    const reason =
      error instanceof z.ZodError || error instanceof SyntaxError
        ? 'its answer is unknown'
        : String((error as Error).message);
    throw new Error(
      `${neighbour} does not answer (${reason}), so the ids that it has seen are not known. Nothing was changed. ` +
        `Start it, or go on without it: --without ${neighbour}`,
    );
  }
}

async function beginEpoch(database: Database, highestKnownId: number): Promise<void> {
  const { epoch, raised } = await changeEpoch(database, highestKnownId);
  print(`${database.schema} begins the epoch ${epoch}.`);
  for (const { table, lastId } of raised) print(`The next id of ${table} is ${lastId + 1}.`);
  print(`Start ${database.schema} now. Its consumers then read all of it again.`);
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

try {
  await run(process.argv.slice(2));
} catch (error) {
  const { name, message, code } = error as { name?: string; message?: string; code?: string };
  const isUnmigrated = code === '42P01'; // undefined_table
  process.stderr.write(
    isUnmigrated
      ? 'The restored database is of an older release: run its migrations first (migration:up).\n'
      : `${explainStartError(error) ?? (message || code)}\n`,
  );
  process.exitCode = name === 'ConfigError' ? 2 : 1;
}
