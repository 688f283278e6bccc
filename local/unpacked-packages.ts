// Packages of Debian and Ubuntu for a user who is not root: downloaded by apt, and unpacked with what they need into a
// folder of the user. Nothing is installed, no script of a package runs, and apt checks the signatures as always.
import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

const tools = ['/usr/bin/apt-get', '/usr/bin/dpkg-deb'];
const run = promisify(execFile);

export function canUnpack(): boolean {
  return tools.every((tool) => existsSync(tool));
}

/** Where the package is or would be. The folder exists when, and only when, it is complete. */
export function unpackedFolder(name: string): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'promopulse', `${name}-${process.arch}`);
}

/** The environment in which programs of the folder find each other and their libraries. */
export function unpackedEnvironment(folder: string): { PATH: string; LD_LIBRARY_PATH: string } {
  const libraries = ['usr/lib', 'lib'].flatMap((path) => {
    const inFolder = join(folder, path);
    const names = existsSync(inFolder) ? readdirSync(inFolder) : [];
    return names.filter((name) => /-linux-gnu\w*$/.test(name)).map((name) => join(inFolder, name));
  });
  return {
    PATH: [join(folder, 'usr/bin'), join(folder, 'bin'), process.env.PATH].filter(Boolean).join(delimiter),
    LD_LIBRARY_PATH: [...libraries, process.env.LD_LIBRARY_PATH].filter(Boolean).join(delimiter),
  };
}

/**
 * @returns the folder with the programs
 * @throws Error with the last three lines of the program that failed
 */
export async function unpackPackage(name: string, print: (line: string) => void): Promise<string> {
  const folder = unpackedFolder(name);
  if (existsSync(folder)) return folder;
  const parent = join(folder, '..');
  mkdirSync(parent, { recursive: true });
  const work = mkdtempSync(join(parent, `${name}-`));
  try {
    print(`${name}: not installed; downloading it and what it needs, without root, into ${folder} …`);
    const archives = await download(name, work);
    const target = join(work, 'root');
    for (const archive of archives) await run(tools[1] as string, ['-x', archive, target]);
    relocate(target, folder);
    if (!existsSync(folder)) renameSync(target, folder); // another run may have been quicker
    print(`${name}: unpacked`);
    return folder;
  } catch (error) {
    const { stderr = '', message } = error as Error & { stderr?: string };
    const reason = (stderr.trim() || message).split('\n').slice(-3).join(' ');
    throw new Error(`${name} could not be unpacked: ${reason}`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** @returns the archives of the package, and of all that it needs and this machine does not have */
async function download(name: string, work: string): Promise<string[]> {
  for (const path of ['state/lists/partial', 'cache/archives/partial', 'debs']) {
    mkdirSync(join(work, path), { recursive: true });
  }
  const own = { 'Dir::State': join(work, 'state'), 'Dir::Cache': join(work, 'cache'), 'Debug::NoLocking': 'true' };
  const options = Object.entries(own).flatMap(([option, value]) => ['-o', `${option}=${value}`]);
  const apt = async (...args: string[]): Promise<string> => {
    const env = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
    return (await run('apt-get', [...options, ...args], { cwd: join(work, 'debs'), env, maxBuffer: 64_000_000 }))
      .stdout;
  };
  await apt('update');
  // "Inst name (version …)". With [the version before] behind the name it is an upgrade, which is not needed.
  const plan = await apt('install', '--simulate', '--no-install-recommends', name);
  const missing = [...plan.matchAll(/^Inst (\S+) \(/gm)].map(([, each]) => String(each));
  if (missing.length === 0)
    throw new Error('the package is installed already, but its program is not where it should be');
  await apt('download', ...missing);
  return readdirSync(join(work, 'debs')).map((file) => join(work, 'debs', file));
}

/** Erlang's starter names its folder, whatever the environment says. */
function relocate(target: string, folder: string): void {
  const starter = join(target, 'usr/lib/erlang/bin/erl');
  if (!existsSync(starter)) return;
  const text = readFileSync(starter, 'utf8');
  writeFileSync(starter, text.replaceAll('ROOTDIR=/usr/lib/erlang', `ROOTDIR='${join(folder, 'usr/lib/erlang')}'`));
}
