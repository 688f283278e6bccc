// The recipes of CONTRIBUTING ("Add a service", "Add a field", "Add an event") as data, and a copy of the checkout to
// apply them to. A fenced block names its file: ```ts path``` is a new file, ```diff path``` changes an existing one.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { linkPackages } from '../../local/linked-packages.ts';

const root = resolve(import.meta.dirname, '../..');

export interface Edit {
  path: string;
  /** Undefined for a new file. */
  before: string | undefined;
  after: string;
  /** From a step that says "Optional". */
  optional: boolean;
}

/** The text of a section. @throws Error when CONTRIBUTING has no such section */
export function readSection(title: string): string {
  const text = readFileSync(join(root, 'CONTRIBUTING.md'), 'utf8');
  const section = text.split(/^## /m).find((each) => each.startsWith(`${title}\n`));
  if (!section) throw new Error(`CONTRIBUTING.md has no section "${title}"`);
  return section;
}

/** @throws Error when CONTRIBUTING has no such section */
export function readRecipe(title: string): Edit[] {
  return readSection(title)
    .split(/^\d+\. /m)
    .flatMap((step) => {
      const blocks = [...step.matchAll(/^ *```(\w+) (\S+)\n([\s\S]*?)^ *```$/gm)];
      const optional = step.startsWith('Optional');
      return blocks.map(([, kind, path = '', indented = '']): Edit => {
        const body = indented.replaceAll(/^ {3}/gm, '');
        if (kind !== 'diff') return { path, before: undefined, after: body, optional };
        const side = (sign: string): string =>
          body
            .split('\n')
            .filter((line) => line.startsWith(sign) || line.startsWith(' '))
            .map((line) => line.slice(1))
            .join('\n');
        return { path, before: side('-'), after: side('+'), optional };
      });
    });
}

/** @throws Error when the text to change is not in the file exactly once, or a new file is there already */
export function applyEdits(folder: string, edits: readonly Edit[]): void {
  for (const { path, before, after } of edits) {
    const file = join(folder, path);
    if (before === undefined) {
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, after, { flag: 'wx' });
      continue;
    }
    const parts = readFileSync(file, 'utf8').split(before);
    if (parts.length !== 2) throw new Error(`${path} has ${parts.length - 1} places for this change:\n${before}`);
    writeFileSync(file, parts.join(after));
  }
}

const notCopied = new Set(['node_modules', '.git', '.data', 'coverage']);

/** A copy of the checkout with the installed packages of the original and its own workspaces. */
export function copyCheckout(): string {
  const folder = mkdtempSync(join(tmpdir(), 'promopulse-copy-'));
  cpSync(root, folder, { recursive: true, filter: (path) => path === root || !notCopied.has(basename(path)) });
  linkPackages(folder);
  return folder;
}
