// Counts the SQL statements per request that a service sends, from the log of PostgreSQL.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { withClient } from '@promopulse/shared/database/provision';
import { type EndpointName, endpoints, targetOf } from './endpoints.ts';
import type { Requests } from './requests.ts';
import { fillIn } from './wrk.ts';

const requestCount = 100;
/** Statements that a service also sends without requests: of the relay, leases, projections, checks and new connections. */
const background =
  /^(outbox_|projection_|publication\b|snapshot_|source_|ready\b|lease_|sequences_|set lock_timeout\b)/;

/** Sends requests one by one while PostgreSQL logs every statement. @returns statements per request */
export async function countRoundTrips(name: EndpointName, { servers, served, parts }: Requests): Promise<number> {
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
  return executed.length / requestCount;
}

async function setAndReload(admin: string, statement: string): Promise<void> {
  await withClient(admin, async (client) => {
    await client.query(statement);
    await client.query('select pg_reload_conf()');
  });
}
