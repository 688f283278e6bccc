// The breaks of the release before that docs/releases/breaks.json lists, each with its reason.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type DocumentName, documentNames, releasesFolder } from './baselines.ts';

interface ListedBreak {
  break: string;
  reason: string;
}

export type ListedBreaks = Record<DocumentName, ListedBreak[]>;

const fileIn = (folder: string): string => join(folder, 'breaks.json');

export function readListedBreaks(folder = releasesFolder): ListedBreaks {
  return JSON.parse(readFileSync(fileIn(folder), 'utf8'));
}

/** When a new version begins, nothing is broken yet. */
export function emptyListedBreaks(folder = releasesFolder): void {
  const none = Object.fromEntries(documentNames.map((name) => [name, []]));
  writeFileSync(fileIn(folder), `${JSON.stringify(none, null, 2)}\n`);
}
