// `npm run restore`: puts a backup in the place of the data of `npm start`, which must not run; with --compose in the place
// of the database of docker compose, whose services it stops and starts.
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { makeTraversableFolder } from '../local/accounts.ts';
import { checkNoServer, explainFailure, findStackData, lockData } from '../local/backup/command.ts';
import { restoreDump } from '../local/backup/compose.ts';
import { readDump } from '../local/backup/dump-folder.ts';
import { readFittingBackup, restoreBackup, verifyBackup } from '../local/backup/restore-backup.ts';

const usage = `Usage: npm run restore -- <folder> [--keys <file> | --compose] [--replace] [--check]
  <folder>   the folder of the backup
  --keys     the file of the keys for personal data, as npm run backup has written it
  --replace  renames existing data, which are kept
  --compose  restores into the stack of docker compose
  --check    only compares the backup with its checksums
`;

const options = {
  keys: { type: 'string' },
  compose: { type: 'boolean', default: false },
  replace: { type: 'boolean', default: false },
  check: { type: 'boolean', default: false },
} as const;

interface Command {
  folder: string;
  keysFile: string | undefined;
  compose: boolean;
  replace: boolean;
  check: boolean;
}

const command = readCommand(process.argv.slice(2));
if (command === undefined) {
  process.stderr.write(usage);
  process.exitCode = 2;
} else {
  await run(command).catch((error: unknown) => {
    const what = command.check ? 'The backup cannot be used.' : 'Nothing was restored.';
    process.stderr.write(`${what} ${explainFailure(error)}\n`);
    process.exitCode = 1;
  });
}

function readCommand(args: string[]): Command | undefined {
  try {
    const { positionals, values } = parseArgs({ args, allowPositionals: true, options });
    const [folder, ...rest] = positionals;
    const { keys, compose, replace, check } = values;
    if (folder === undefined || rest.length > 0 || (compose && keys !== undefined)) return undefined;
    return { folder: resolve(folder), keysFile: keys && resolve(keys), compose, replace, check };
  } catch {
    return undefined;
  }
}

async function run(command: Command): Promise<void> {
  const startedAt = performance.now();
  const former = command.compose ? await restoreCompose(command) : await restoreFiles(command);
  if (command.check) return;
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
  print(`The restore took ${seconds} s.${command.compose ? '' : ' Start the data now: npm start'}`);
  if (former !== undefined) print(`The former data are in ${former}. Delete them when you do not need them any more.`);
}

/** @returns where the former data are now */
async function restoreCompose({ folder, replace, check }: Command): Promise<string | undefined> {
  const dump = await readDump(folder);
  if (!check) return await restoreDump({ dump, replace, print });
  print(`The dump of ${dump.contents.created_at} is complete: it equals its checksum.`);
  return undefined;
}

/** @returns where the former data are now */
async function restoreFiles({ folder, keysFile, replace, check }: Command): Promise<string | undefined> {
  const data = findStackData(process.env);
  const backup = readFittingBackup(folder, data.cluster);
  if (check) {
    await verifyBackup(backup);
    print(
      `The backup of ${backup.contents.created_at} is complete: ${backup.files.length} files equal their checksums.`,
    );
    return;
  }
  makeTraversableFolder(data.dataDir);
  lockData(data.dataDir);
  checkNoServer(data);
  const former = await restoreBackup({ ...data, backup, replace, keysFile, env: process.env });
  print(`The data are those of ${backup.contents.created_at} again.`);
  return former;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
