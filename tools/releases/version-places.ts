// Where the version stands. package.json of the root is the source; every other place follows it.
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const files = [
  '{package,package-lock}.json',
  '{packages,services,tools}/*/package.json',
  'docker/sbom/{package,package-lock}.json',
  'docker/service.Dockerfile',
  'docker/bake.json',
  'deploy/kubernetes/**/*.{yaml,md}',
  'docs/operations.md',
  'CONTRIBUTING.md', // the manifest of the service that its recipe adds
];

/** What is before a version, and the version. */
const patterns = [
  /("name": "@?promopulse[^"]*",\s+"version": ")([^"]+)/g,
  /("@promopulse\/[\w-]+": ")([^"]+)/g,
  /(\bIMAGE_VERSION=)(\S+)/g,
  /("IMAGE_VERSION": \{ "default": ")([^"]+)/g,
  /(\bpromopulse\/[\w$-]+:)(\d[\w.-]*)/g,
  /(\bnewTag: )(\d[\w.-]*)/g,
];

export interface Place {
  path: string;
  /** What the place says. */
  version: string;
}

/** Every place in the checkout. */
export function versionPlaces(root: string): Place[] {
  return placedFiles(root).flatMap((path) => {
    const text = readFileSync(join(root, path), 'utf8');
    return patterns.flatMap((pattern) => [...text.matchAll(pattern)].map(([, , version = '']) => ({ path, version })));
  });
}

/** Writes the version in every place. */
export function setVersion(root: string, version: string): void {
  for (const path of placedFiles(root)) {
    const text = readFileSync(join(root, path), 'utf8');
    writeFileSync(
      join(root, path),
      patterns.reduce((changed, pattern) => changed.replaceAll(pattern, (_, before) => `${before}${version}`), text),
    );
  }
}

function placedFiles(root: string): string[] {
  return globSync(files, { cwd: root, exclude: ['**/node_modules/**'] }).sort();
}
