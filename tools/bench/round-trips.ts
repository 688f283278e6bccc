// Counts the SQL statements per request that a service sends, from the log of PostgreSQL.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { withClient } from '@promopulse/shared/database/provision';
import { type EndpointName, endpoints, targetOf } from './endpoints.ts';
import type { Requests } from './requests.ts';
import { fillIn } from './wrk.ts';

const requestCount = 100;
const maxAttempts = 3;
/** Statements that a service also sends without requests: of the relay, leases, projections, checks and new connections. */
const background =
  /^(outbox_|projection_|publication\b|snapshot_|source_|ready\b|lease_|sequences_|set lock_timeout\b)/;

/** Sends requests one by one while PostgreSQL logs every statement. @returns statements per request */
export async function countRoundTrips(name: EndpointName, requests: Requests): Promise<number> {
  for (let attempt = 1; attempt <= maxAttempts; attempt += 1) {
    const trips = await countOnce(name, requests);
    if (trips !== undefined) return trips;
  }
  throw new Error(`${name}: a request was answered with 409 in each of ${maxAttempts} attempts`);
}

/** @returns undefined when a request was answered with 409, because its random values exist already */
async function countOnce(name: EndpointName, { servers, served, parts }: Requests): Promise<number | undefined> {
  const { service } = endpoints[name];
  const [startMark, endMark] = [randomUUID(), randomUUID()];
  const admin = servers.postgres.url();
  await setAndReload(admin, `alter system set log_line_prefix = '%a|'`);
  await setAndReload(admin, `alter system set log_statement = 'all'`);
  await sleep(300); // until every session has read the settings
  await withClient(admin, (client) => client.query(`select '${startMark}'`));
  const target = targetOf(name, parts[service]?.url ?? '', served.sizes);
  for (let index = 0; index < requestCount; index += 1) {
    const { url, method, path, body } = target;
    const response = await fetch(`${url}${fillIn(path, target)}`, {
      method,
      ...(body && { body: fillIn(body, target), headers: { 'content-type': 'application/json' } }),
    });
    await response.arrayBuffer();
    if (response.status === 409) return undefined;
    if (!response.ok) throw new Error(`${method} ${path} was answered with ${response.status}`);
  }
  await withClient(admin, (client) => client.query(`select '${endMark}'`));
  await setAndReload(admin, 'alter system reset log_statement');
  const log = readFileSync(servers.postgresLog, 'utf8');
  const executed = log
    .slice(log.indexOf(startMark), log.indexOf(endMark))
    .split('\n')
    .filter((line) => {
      const found = new RegExp(`^promopulse-${service}\\|LOG:  (?:execute|statement:?) (.*)`).exec(line)?.[1];
      return found !== undefined && !background.test(found);
    });
  // One decimal: a statement that the service sends by itself now and then is no round trip of a request.
  return Math.round((executed.length / requestCount) * 10) / 10;
}

async function setAndReload(admin: string, statement: string): Promise<void> {
  await withClient(admin, async (client) => {
    await client.query(statement);
    await client.query('select pg_reload_conf()');
  });
}
