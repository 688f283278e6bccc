// What users of a release rely on, frozen at the release: docs/releases/<document>-<version>.json.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import packageJson from '../../package.json' with { type: 'json' };
import { environmentDocument } from './environment.ts';

export const documentNames = ['openapi', 'asyncapi', 'environment'] as const;
export type DocumentName = (typeof documentNames)[number];
export type Documents = Record<DocumentName, unknown>;

const docs = join(import.meta.dirname, '../../docs');
export const releasesFolder = join(docs, 'releases');
/** The version that is being worked on, or was just released. */
export const { version: currentVersion } = packageJson;

/** Of this checkout. The two that are committed are compared with the code by tests of their own. */
export async function currentDocuments(): Promise<Documents> {
  return {
    openapi: readJson(join(docs, 'openapi.json')),
    asyncapi: readJson(join(docs, 'asyncapi.json')),
    environment: await environmentDocument(currentVersion),
  };
}

export function fileOf(document: DocumentName, version: string): string {
  return `${document}-${version}.json`;
}

/** The versions of which any document is frozen, the newest last. */
export function frozenVersions(folder = releasesFolder): string[] {
  const names = readdirSync(folder).flatMap((file) => /^[a-z]+-(\d+\.\d+\.\d+)\.json$/.exec(file)?.[1] ?? []);
  return [...new Set(names)].sort(compareVersions);
}

export function isFrozen(version: string, folder = releasesFolder): boolean {
  return frozenVersions(folder).includes(version);
}

/** The release that the version follows: the newest frozen one that is lower. Undefined before the first release. */
export function releaseBefore(version: string, folder = releasesFolder): string | undefined {
  return frozenVersions(folder).findLast((each) => compareVersions(each, version) < 0);
}

/** @returns undefined when it is not there */
export function readBaseline(document: DocumentName, version: string, folder = releasesFolder): unknown {
  const file = join(folder, fileOf(document, version));
  return existsSync(file) ? readJson(file) : undefined;
}

function compareVersions(one: string, other: string): number {
  return one.localeCompare(other, 'en', { numeric: true });
}

function readJson(file: string): unknown {
  return JSON.parse(readFileSync(file, 'utf8'));
}
