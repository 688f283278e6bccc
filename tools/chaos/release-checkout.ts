// A former release as it was, in a folder of its own, with the packages that are installed here.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { linkPackages } from '../../local/linked-packages.ts';

const root = resolve(import.meta.dirname, '../..');

/** What the processes of a release load, in all of its package.json files. */
type Manifest = { dependencies?: Record<string, string> };

/**
 * @param commit of the release; the clone must contain it
 * @returns the folder
 * @throws Error when git has no such commit, or the release needs other versions than those installed here
 */
export function checkOutRelease(commit: string, folder: string): string {
  mkdirSync(folder);
  const maxBuffer = 500_000_000;
  const archive = execFileSync('git', ['archive', '--format=tar', commit], { cwd: root, maxBuffer });
  execFileSync('tar', ['-x', '-C', folder], { input: archive });
  linkPackages(folder);
  const differing = ['packages/shared', 'services/gateway', 'services/users'].flatMap((path) =>
    differences(folder, path),
  );
  if (differing.length > 0) throw new Error(`${commit} needs other packages than those here: ${differing.join(', ')}`);
  return folder;
}

/** Whether services of the release have their health and internal routes on a listener of their own, as since 0.2.0. */
export function hasInternalListener(root: string): boolean {
  return existsSync(join(root, 'packages/shared/src/service/listener-config.ts'));
}

/** Whether a release has this part. A later one may have more services. */
export function hasPart({ root }: { root: string }, part: string): boolean {
  return existsSync(join(root, 'services', part));
}

function differences(folder: string, path: string): string[] {
  const { dependencies = {} } = JSON.parse(readFileSync(join(folder, path, 'package.json'), 'utf8')) as Manifest;
  return Object.entries(dependencies).flatMap(([name, wanted]) => {
    if (name.startsWith('@promopulse/')) return [];
    const file = join(root, 'node_modules', name, 'package.json');
    const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string };
    return version === wanted ? [] : [`${name} ${wanted} (here ${version})`];
  });
}
