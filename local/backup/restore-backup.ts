// Puts a backup into the place of the data of `npm start`. The promise: until the copy is complete, equal to its checksums
// and recovered by PostgreSQL, the data stay as they are. Existing data are renamed and never deleted.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Account, changeOwner, makePrivateFolder, writePrivateFile } from '../accounts.ts';
import { freePort } from '../ports.ts';
import { startCluster } from '../postgres.ts';
import { type Cluster, keysFileName, postgresVersion } from '../postgres-cluster.ts';
import { markLocation } from '../postgres-location.ts';
import { type Backup, BackupError, readBackup, verifyFile } from './backup-folder.ts';
import { findKeys } from './backup-keys.ts';

interface RestoreOptions {
  backup: Backup;
  cluster: Cluster;
  /** The data folder that `npm start` asks for; `cluster` has the one that it gets. */
  wantedDataDir: string;
  /** Whether existing data are renamed. False: existing data end the restore. */
  replace: boolean;
  keysFile: string | undefined;
  env: NodeJS.ProcessEnv;
}

/** @throws BackupError with the first file that is missing or damaged */
export async function verifyBackup(backup: Backup): Promise<void> {
  for (const listed of backup.files) await verifyFile(backup, listed);
}

/** @returns the backup, whose lists are complete. @throws BackupError when this PostgreSQL cannot read its files */
export function readFittingBackup(folder: string, cluster: Cluster): Backup {
  const backup = readBackup(folder);
  const { postgres, platform } = backup.contents;
  const version = postgresVersion(cluster);
  const majorOf = (text: string): string | undefined => text.split('.')[0];
  if (majorOf(postgres) !== majorOf(version)) {
    throw new BackupError(
      `The backup was made by PostgreSQL ${postgres}, and this is ${version}: another major version cannot read its ` +
        'files. Restore it with the release of PromoPulse that made it.',
    );
  }
  const here = `${process.platform}-${process.arch}`;
  if (platform === here) return backup;
  throw new BackupError(`The backup was made on ${platform}, and this is ${here}: PostgreSQL's files differ.`);
}

/**
 * @returns where the former data are now; undefined if there were none
 * @throws BackupError when there are data and `replace` is false, or the backup or its keys do not fit
 */
export async function restoreBackup(options: RestoreOptions): Promise<string | undefined> {
  const { backup, cluster, wantedDataDir, replace, keysFile, env } = options;
  const { account, dataDir } = cluster;
  const hasData = existsSync(dataDir) && readdirSync(dataDir).length > 0;
  if (hasData && !replace) {
    throw new BackupError(`There are data in ${dataDir} already. With --replace they are renamed, and kept.`);
  }
  const keys = findKeys(backup.contents.keys, { file: keysFile, dataDir, env });
  const restored = `${dataDir}.restoring`;
  makePrivateFolder(restored, account);
  try {
    await copyFiles(backup, restored, account);
    if (keys !== undefined) writePrivateFile(join(restored, keysFileName), readFileSync(keys, 'utf8'), account);
    await recover({ ...cluster, dataDir: restored, logFile: `${restored}.log` });
  } catch (error) {
    rmSync(restored, { recursive: true, force: true });
    throw error;
  }
  rmSync(`${restored}.log`, { force: true });
  const former = hasData ? `${dataDir}.replaced-${new Date().toISOString().replaceAll(/[:.]/g, '-')}` : undefined;
  if (former !== undefined) renameSync(dataDir, former);
  else rmSync(dataDir, { recursive: true, force: true });
  renameSync(restored, dataDir);
  markLocation(wantedDataDir, dataDir);
  return former;
}

async function copyFiles(backup: Backup, target: string, account: Account): Promise<void> {
  for (const folder of backup.contents.folders) {
    mkdirSync(join(target, folder), { recursive: true, mode: 0o700 });
    changeOwner(account, join(target, folder));
  }
  for (const listed of backup.files) {
    await verifyFile(backup, listed, join(target, listed.path));
    changeOwner(account, join(target, listed.path));
  }
}

/**
 * Lets PostgreSQL replay the WAL of the backup to its end, as an archive recovery without an archive: that begins a new
 * timeline, by which the services know that the data were set back. Before it, PostgreSQL writes all files to the disk.
 */
async function recover(cluster: Cluster): Promise<void> {
  const signal = join(cluster.dataDir, 'recovery.signal');
  writePrivateFile(signal, '', cluster.account);
  // Without hot_standby the server is ready only after the recovery. With it, it would be stopped in the midst of it.
  const settings = { restore_command: 'exit 1', hot_standby: 'off' };
  try {
    const server = await startCluster(cluster, {
      port: await freePort(),
      durable: true,
      print: () => undefined,
      settings,
    });
    await server.stop();
  } catch (cause) {
    throw new BackupError(`PostgreSQL cannot recover the backup. ${(cause as Error).message}`, { cause });
  }
  if (existsSync(signal)) throw new BackupError('PostgreSQL has not recovered the backup to its end.');
}
