// `npm run backup`: a backup of the data of `npm start`, while it runs or not; with --compose of the running stack of
// docker compose.
import { mkdirSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { copyKeys, keysOfData } from '../local/backup/backup-keys.ts';
import { explainFailure, findStackData, useServer } from '../local/backup/command.ts';
import { writeDump } from '../local/backup/compose.ts';
import { type BackupSize, checkTarget, inNewFolder, takeBackup } from '../local/backup/take-backup.ts';

const usage = `Usage: npm run backup -- [folder] [--keys <file> | --compose]
  [folder]   the new folder of the backup; by default backups/<time> here
  --keys     also copies the keys for personal data to this file. Keep it apart from the backup.
  --compose  backs up the stack of docker compose, whose keys are in .env or in files of yours
`;

interface Command {
  target: string;
  keysFile: string | undefined;
  compose: boolean;
}

const options = { keys: { type: 'string' }, compose: { type: 'boolean', default: false } } as const;

const command = readCommand(process.argv.slice(2));
if (command === undefined) {
  process.stderr.write(usage);
  process.exitCode = 2;
} else {
  await run(command).catch((error: unknown) => {
    process.stderr.write(`There is no new backup. ${explainFailure(error)}\n`);
    process.exitCode = 1;
  });
}

function readCommand(args: string[]): Command | undefined {
  try {
    const { positionals, values } = parseArgs({ args, allowPositionals: true, options });
    const [named, ...rest] = positionals;
    const { keys, compose } = values;
    if (rest.length > 0 || (compose && keys !== undefined)) return undefined;
    return { target: named === undefined ? usualTarget() : resolve(named), keysFile: keys && resolve(keys), compose };
  } catch {
    return undefined;
  }
}

function usualTarget(): string {
  const time = new Date().toISOString().slice(0, 19).replaceAll(':', '-');
  return resolve(import.meta.dirname, '../backups', time);
}

async function run({ target, keysFile, compose }: Command): Promise<void> {
  const startedAt = performance.now();
  if (dirname(target) === dirname(usualTarget())) mkdirSync(dirname(target), { recursive: true, mode: 0o700 });
  checkTarget(target);
  if (compose) {
    const { size } = await inNewFolder(target, writeDump);
    printDone(target, { files: 1, bytes: size }, startedAt);
    print('It has no keys: keep those of .env, apart from it.');
  } else await backUpFiles(target, keysFile, startedAt);
}

async function backUpFiles(target: string, keysFile: string | undefined, startedAt: number): Promise<void> {
  const data = findStackData(process.env);
  const server = await useServer(data);
  try {
    const keys = keysOfData(data.cluster.dataDir);
    if (keysFile !== undefined) copyKeys(data.cluster.dataDir, { target, file: keysFile });
    printDone(target, await takeBackup({ url: server.url, target, keys }), startedAt);
    printKeys(keys.length > 0, keysFile);
  } finally {
    await server.stop();
  }
}

function printDone(target: string, { files, bytes }: BackupSize, startedAt: number): void {
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
  print(`The backup is in ${target}: ${files} files, ${Math.ceil(bytes / 1e6)} MB, ${seconds} s.`);
}

function printKeys(hasKeys: boolean, keysFile: string | undefined): void {
  const without = 'It has no keys, and without them no email and no phone in it can be read.';
  if (!hasKeys) print(`${without} They are in the environment of npm start: keep them.`);
  else if (keysFile === undefined) print(`${without} Copy them to another place: npm run backup -- --keys <file>`);
  else print(`The keys are in ${keysFile}. Keep them apart from the backup.`);
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
