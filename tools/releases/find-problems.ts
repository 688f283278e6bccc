// Compares this checkout with the release before it, and with its own frozen documents if it has been released.
import { isDeepStrictEqual } from 'node:util';
import {
  type DocumentName,
  type Documents,
  documentNames,
  fileOf,
  frozenVersions,
  isFrozen,
  readBaseline,
  releaseBefore,
} from './baselines.ts';
import type { EnvironmentDocument } from './environment.ts';
import { listEnvironmentBreaks } from './environment-breaks.ts';
import { listEventBreaks } from './event-breaks.ts';
import type { ListedBreaks } from './listed-breaks.ts';
import { listBreaks } from './openapi-breaks.ts';

interface Checkout {
  version: string;
  documents: Documents;
  listed: ListedBreaks;
  /** Of the frozen documents. */
  folder: string;
}

const compare: Record<DocumentName, (before: unknown, after: unknown) => string[]> = {
  openapi: listBreaks,
  asyncapi: listEventBreaks,
  environment: (before, after) => listEnvironmentBreaks(before as EnvironmentDocument, after as EnvironmentDocument),
};

/** @returns one line for each break that is not listed, and for each mistake in the list and in the frozen documents */
export function findProblems(checkout: Checkout): string[] {
  const missing = missingBaselines(checkout.folder);
  if (missing.length > 0) return missing;
  return [...unlistedBreaks(checkout), ...changedAfterRelease(checkout)];
}

/** A release has all of its documents. */
function missingBaselines(folder: string): string[] {
  return frozenVersions(folder).flatMap((version) =>
    documentNames
      .filter((name) => readBaseline(name, version, folder) === undefined)
      .map((name) => `docs/releases/${fileOf(name, version)} is missing: npm run release:freeze writes it`),
  );
}

function unlistedBreaks({ version, documents, listed, folder }: Checkout): string[] {
  const release = releaseBefore(version, folder);
  return documentNames.flatMap((name) => {
    const breaks = release ? compare[name](readBaseline(name, release, folder), documents[name]) : [];
    const entries = listed[name] ?? [];
    const sentences = entries.map((each) => each.break);
    return [
      ...breaks
        .filter((each) => !sentences.includes(each))
        .map((each) => `${name}: breaks users of ${release}: ${each}`),
      ...sentences
        .filter((each) => !breaks.includes(each))
        .map((each) => `${name}: docs/releases/breaks.json lists what does not break users of ${release}: ${each}`),
      ...entries
        .filter(({ reason }) => !reason?.trim())
        .map((each) => `${name}: docs/releases/breaks.json has no reason for: ${each.break}`),
    ];
  });
}

/** What a version is does not change after its release: a change belongs to the next one. */
function changedAfterRelease({ version, documents, folder }: Checkout): string[] {
  if (!isFrozen(version, folder)) return [];
  return documentNames
    .filter((name) => !isDeepStrictEqual(toJson(documents[name]), readBaseline(name, version, folder)))
    .map((name) => `${name}: ${version} is released, and differs now: npm run release:version -- <the next version>`);
}

function toJson(document: unknown): unknown {
  return JSON.parse(JSON.stringify(document));
}
