// Where the programs of RabbitMQ are on this machine, and how they come here when there are none.
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { aptInstall, canAptInstall } from './apt.ts';
import { canUnpack, unpackedEnvironment, unpackedFolder, unpackPackage } from './unpacked-packages.ts';

export interface RabbitPrograms {
  /** The folder of rabbitmq-server and rabbitmqctl. */
  bin: string;
  /** What they need besides the environment of this process. */
  env: Record<string, string>;
}

const packageName = 'rabbitmq-server';
const binFolder = 'usr/lib/rabbitmq/bin';

/** The scripts come before the wrappers in PATH, which Debian allows to root only. */
export function findRabbit(): RabbitPrograms | undefined {
  const folders = [
    `/${binFolder}`,
    '/opt/homebrew/sbin',
    '/usr/local/sbin',
    ...(process.env.PATH ?? '').split(delimiter),
  ];
  const bin = folders.find((folder) => existsSync(join(folder, 'rabbitmq-server')));
  if (bin !== undefined) return { bin, env: {} };
  const unpacked = unpackedFolder(packageName);
  return existsSync(unpacked) ? programsIn(unpacked) : undefined;
}

function programsIn(unpacked: string): RabbitPrograms {
  return { bin: join(unpacked, binFolder), env: unpackedEnvironment(unpacked) };
}

/**
 * Makes sure that there is one: as root on Debian and Ubuntu it is installed, for another user unpacked.
 * @throws Error that names the ways to get one
 */
export async function ensureRabbit(print: (line: string) => void): Promise<void> {
  if (findRabbit()) return;
  try {
    if (canAptInstall()) return await aptInstall([packageName], print);
    if (canUnpack()) return void (await unpackPackage(packageName, print));
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${waysToGetOne}`);
  }
  throw new Error(waysToGetOne);
}

const waysToGetOne =
  'A real RabbitMQ is needed: start Docker (for the tests), set AMQP_URL to a running broker, or install ' +
  'rabbitmq-server. On Debian and Ubuntu it is installed or unpacked automatically. ' +
  'Tests of pure rules run without it: TEST_BACKENDS=none.';
