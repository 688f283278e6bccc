// The drill of docs/backup.md: a backup under load, the loss of everything, and a restore, by the commands of an operator.
// RabbitMQ outlives it, with events of changes that the restored data never had: what they leave is marked as lost.
import { execFile } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import { withClient } from '@promopulse/shared/database/provision';
import { client } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { amqpUrl, deleteTopology, uniquePrefix } from '@promopulse/testing/servers';
import { freePort } from '../local/ports.ts';
import { findLocalPostgres } from '../local/postgres.ts';
import { seededRandom } from '../local/random.ts';
import { readApiState } from '../tools/chaos/api-state.ts';
import { makeCanary } from '../tools/chaos/canary.ts';
import { checkTotals } from '../tools/chaos/checks.ts';
import {
  type DatabaseState,
  projectionDifferences,
  waitForQuiet,
  withoutLostRows,
} from '../tools/chaos/database-state.ts';
import { type Attempt, isSuccess, isWrite } from '../tools/chaos/history.ts';
import { type Load, startLoad } from '../tools/chaos/load.ts';
import { checkAcknowledged, checkEventHistory, checkKeptHistory } from '../tools/chaos/write-checks.ts';
import {
  processesNaming,
  runScript,
  type StartProcess,
  spawnStart,
  temporaryDataDir,
} from './support/start-process.ts';

const folder = temporaryDataDir();
const dataDir = join(folder, 'data');
const [backup, keysFile] = [join(folder, 'backup'), join(folder, 'keys.json')];
const prefix = uniquePrefix();
let running: StartProcess | undefined;
let load: Load | undefined;
afterAll(async () => {
  await load?.stop();
  running?.signal('SIGTERM');
  await running?.exited;
  rmSync(folder, { recursive: true, force: true });
  await deleteTopology(prefix);
}, 60_000);

async function start(): Promise<StartProcess> {
  const stack = spawnStart(dataDir, await freePort(), { AMQP_URL: amqpUrl(), AMQP_PREFIX: prefix });
  running = stack;
  await eventually(
    async () => {
      const { status, body } = await client(stack.url).get('/health');
      const { users, promotions } = body.services.subscriptions.projections;
      expect([status, users.reconciled, promotions.reconciled]).toEqual([200, true, true]);
    },
    { timeoutMs: 90_000 },
  ).catch((error: unknown) => {
    throw new Error(`It did not start: ${stack.output()}`, { cause: error });
  });
  return stack;
}

const script = async (name: string, args: readonly string[]): Promise<string> => {
  const { code, output } = await runScript(name, args, { DATA_DIR: dataDir });
  expect({ code, output }).toEqual({ code: 0, output: expect.any(String) });
  return output;
};

const databaseUrl = (): string => {
  const url = findLocalPostgres(join(dataDir, 'postgres'), () => undefined);
  return Object.assign(new URL(String(url)), { pathname: '/promopulse' }).href;
};
const epochs = (): Promise<string[]> =>
  withClient(databaseUrl(), async (admin) => {
    const { rows } = await admin.query<{ epoch: string }>(
      `select epoch from users.publication union all select epoch from promotions.publication
       union all select epoch from subscriptions.publication`,
    );
    return rows.map(({ epoch }) => epoch);
  });

const successesIn = (history: readonly Attempt[]): Attempt[] => history.filter(isWrite).filter(isSuccess);
const untilMoreWrites = (history: readonly Attempt[], count: number): Promise<void> => {
  const before = successesIn(history).length;
  return eventually(() => expect(successesIn(history).length - before).toBeGreaterThanOrEqual(count), {
    timeoutMs: 60_000,
  });
};

/**
 * The projections cannot write until the server ends, so RabbitMQ still has the event of the user that is created here.
 * @param work what is done meanwhile, with the id of that user
 */
const whileEventsWait = (history: readonly Attempt[], work: (lostUser: number) => Promise<void>): Promise<void> =>
  withClient(databaseUrl(), async (admin) => {
    await admin.query('begin');
    await admin.query('lock table subscriptions.known_users in share row exclusive mode');
    const lockedAt = Date.now();
    const isNewUser = ({ kind, startedAt }: Attempt): boolean => kind === 'create user' && startedAt > lockedAt;
    await eventually(
      async () => {
        const id = successesIn(history).find(isNewUser)?.id;
        const published = 'select from users.outbox where subject = $1 and published_at is not null';
        expect((await admin.query(published, [String(id)])).rowCount).toBe(1);
      },
      { timeoutMs: 60_000 },
    );
    await work(Number(successesIn(history).find(isNewUser)?.id));
  });

/** Without a stop in order: as a machine that is gone, with its disk. */
async function destroy(stack: StartProcess): Promise<void> {
  const server = Number(readFileSync(join(dataDir, 'postgres/postmaster.pid'), 'utf8').split('\n')[0]);
  stack.signal('SIGKILL');
  process.kill(server, 'SIGKILL');
  await stack.exited;
  await eventually(() => expect(processesNaming(dataDir)).toEqual([]), { timeoutMs: 30_000 });
  rmSync(dataDir, { recursive: true });
}

/** What was not answered at `time` may be in the backup or not. */
const answeredAt = (time: number, history: readonly Attempt[]): Attempt[] =>
  history.filter(isWrite).map((attempt) => (attempt.endedAt <= time ? attempt : { ...attempt, status: 0 }));

/**
 * An event of a lost row is believed until the owner has told its new epoch. Then the row is marked, /health counts it,
 * and it takes no subscription. Later events of lost rows leave no row.
 */
async function checkLostRows(url: string, lostUser: number, state: DatabaseState): Promise<void> {
  const [users, promotions] = [state.knownUsers, state.cachedPromotions].map(
    (rows) => rows.filter(({ lost }) => lost).length,
  );
  const { projections } = (await client(url).get('/health')).body.services.subscriptions;
  expect(projections).toMatchObject({
    users: { lost: users, subscriptions_of_lost: 0 },
    promotions: { lost: promotions, subscriptions_of_lost: 0 },
  });
  const promotion_id = state.promotions.find(({ status }) => status === 'active')?.id;
  const { status, body } = await client(url).post('/subscriptions', { user_id: lostUser, promotion_id });
  expect([status, body.code]).toEqual([404, 'user_not_found']);
  expect((await client(url).get(`/users/${lostUser}`)).status).toBe(404);
}

const journeys = (url: string): Promise<string> =>
  new Promise((resolve) => {
    const jest = ['--experimental-vm-modules', 'node_modules/jest/bin/jest.js', 'test/journeys.e2e.test.ts'];
    const env = { ...process.env, TEST_BACKENDS: 'none', BASE_URL: url };
    execFile(process.execPath, jest, { env }, (error, _stdout, stderr) => resolve(error ? stderr : 'passed'));
  });

test('a backup under load is restored after the loss of everything, and keeps every promise', async () => {
  const stack = await start();
  const formerEpochs = await epochs();
  const random = seededRandom(28);
  load = startLoad({ url: stack.url, random, perSecond: 40, canary: makeCanary(random), retries: false });
  const { history } = load;
  await untilMoreWrites(history, 100);

  const backupFrom = Date.now();
  const made = await script('backup', [backup, '--keys', keysFile]);
  const backupUntil = Date.now();
  await untilMoreWrites(history, 40);
  let lostUser = 0;
  await whileEventsWait(history, async (id) => {
    lostUser = id;
    await destroy(stack);
  });
  await load.stop();

  const destroyedAt = performance.now();
  await script('restore', [backup, '--keys', keysFile]);
  const restoredAt = performance.now();
  const { url } = await start();
  const recoveredAt = performance.now();

  const source = { rabbit: { url: amqpUrl() }, prefix, databaseUrl };
  const { databaseState, quietAfterMs } = await waitForQuiet(source, { everyMs: 100, compared: withoutLostRows });
  const unpublished = databaseState.events.filter(({ published }) => !published).map(({ name }) => name);
  const differences = projectionDifferences(withoutLostRows(databaseState));
  expect({ unpublished, differences, isQuiet: quietAfterMs !== undefined }).toEqual({
    unpublished: [],
    differences: [],
    isQuiet: true,
  });
  await checkLostRows(url, lostUser, databaseState);
  expect(databaseState.deadLetters).toEqual([]);
  const checks = [
    checkAcknowledged(answeredAt(backupFrom, history), databaseState),
    checkEventHistory(history.filter(isWrite), databaseState),
    checkKeptHistory(databaseState),
    checkTotals(databaseState, await readApiState({ url, credential: undefined }, databaseState)), // it also reads every address, with the keys
  ];
  expect(checks.flatMap(({ breaches }) => breaches)).toEqual([]);

  const lost = successesIn(history).filter(({ startedAt }) => startedAt > backupUntil);
  const present = new Set(databaseState.events.map(({ request_id }) => request_id));
  expect(lost.length).toBeGreaterThan(0);
  expect(lost.filter(({ requestId }) => present.has(requestId))).toEqual([]);

  const presentEpochs = await epochs();
  expect(formerEpochs.filter((epoch) => presentEpochs.includes(epoch))).toEqual([]);
  const highestId = Math.max(...successesIn(history).map(({ id }) => id ?? 0));
  const user = { first_name: 'Ada', last_name: 'Lovelace', email: 'ada@example.com' };
  expect((await client(url).post('/users', user)).body.id).toBeGreaterThan(highestId);
  expect(await journeys(url)).toBe('passed');

  const seconds = (from: number, to: number): string => ((to - from) / 1_000).toFixed(1);
  process.stdout.write(
    `${made.split('\n')[0]}\nRestored in ${seconds(destroyedAt, restoredAt)} s, recovered in ` +
      `${seconds(destroyedAt, recoveredAt)} s. Kept ${checks[0]?.examined}, lost ${lost.length} of after the backup.\n`,
  );
}, 600_000); // 92 s of CPU time with its servers
