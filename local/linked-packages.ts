// Gives another copy of the repository the packages that are installed here, and its own workspaces, by symbolic links.
import { existsSync, globSync, mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');

/** What `npm ci` does, without a download. Both copies must need the same versions. */
export function linkPackages(folder: string): void {
  const modules = join(folder, 'node_modules');
  mkdirSync(modules);
  for (const name of readdirSync(join(root, 'node_modules'))) {
    if (name !== '@promopulse') symlinkSync(join(root, 'node_modules', name), join(modules, name));
  }
  mkdirSync(join(modules, '@promopulse'));
  linkWorkspaces(folder);
  // A package whose version fits one workspace only is in that workspace.
  for (const path of globSync('{packages,services,tools}/*/node_modules', { cwd: root })) {
    if (existsSync(dirname(join(folder, path)))) symlinkSync(join(root, path), join(folder, path));
  }
}

/** What `npm install` does for a workspace that is new. */
export function linkWorkspaces(folder: string): void {
  const links = join(folder, 'node_modules/@promopulse');
  const linked = new Set(readdirSync(links));
  for (const group of ['packages', 'services', 'tools']) {
    for (const name of readdirSync(join(folder, group))) {
      if (!linked.has(name)) symlinkSync(relative(links, join(folder, group, name)), join(links, name));
    }
  }
}
