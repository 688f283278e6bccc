// node unlisted-packages.ts <folder> <sbom>: fails when a package that is installed below the folder's node_modules is
// not in the SBOM with its version, or the SBOM lists one that is not there. It reads the files of the packages, not
// those of npm, because a list is not proved by its source.
import { existsSync, lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface Component {
  group?: string;
  name: string;
  version?: string;
  components?: Component[];
}

const [folder = '', sbomFile = ''] = process.argv.slice(2);
const sbom = JSON.parse(readFileSync(sbomFile, 'utf8')) as { components: Component[] };
const listed = new Set(sbom.components.flatMap(namesOf));
const installed = new Set(packagesIn(join(folder, 'node_modules')));
const unlisted = [...installed].filter((name) => !listed.has(name));
const absent = [...listed].filter((name) => !installed.has(name));

process.stdout.write(`${installed.size} packages are installed, ${listed.size} are in the SBOM\n`);
if (unlisted.length > 0) process.stderr.write(`Not in the SBOM: ${unlisted.join(' ')}\n`);
if (absent.length > 0) process.stderr.write(`Only in the SBOM: ${absent.join(' ')}\n`);
if (installed.size === 0 || unlisted.length + absent.length > 0) process.exitCode = 1;

/** A package within another one is a component of that component. Those of this repository have no place of their own. */
function namesOf({ group, name, version, components = [] }: Component): string[] {
  const fullName = group ? `${group}/${name}` : name;
  const own = fullName.startsWith('@promopulse/') ? [] : [`${fullName}@${version}`];
  return [...own, ...components.flatMap(namesOf)];
}

function packagesIn(modules: string): string[] {
  if (!existsSync(modules)) return [];
  return readdirSync(modules).flatMap((name) => {
    const path = join(modules, name);
    if (name.startsWith('.') || lstatSync(path).isSymbolicLink()) return []; // npm's own files; workspaces
    if (name.startsWith('@')) return readdirSync(path).flatMap((each) => packageAt(join(path, each)));
    return packageAt(path);
  });
}

function packageAt(path: string): string[] {
  if (lstatSync(path).isSymbolicLink()) return [];
  const { name, version } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'));
  return [`${name}@${version}`, ...packagesIn(join(path, 'node_modules'))];
}
