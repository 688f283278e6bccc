// `npm run release:freeze`: writes what users of this version rely on into docs/releases/, for the releases after it.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { currentDocuments, currentVersion, documentNames, fileOf, isFrozen, releasesFolder } from './baselines.ts';
import { findProblems } from './find-problems.ts';
import { readListedBreaks } from './listed-breaks.ts';

const documents = await currentDocuments();
const obstacles = findObstacles();
for (const obstacle of obstacles) process.stderr.write(`${obstacle}\n`);
if (obstacles.length > 0) process.exit(1);
for (const name of documentNames) {
  const file = fileOf(name, currentVersion);
  writeFileSync(join(releasesFolder, file), `${JSON.stringify(documents[name], null, 2)}\n`);
  process.stdout.write(`docs/releases/${file}\n`);
}

function findObstacles(): string[] {
  const changelog = readFileSync(join(releasesFolder, '../../CHANGELOG.md'), 'utf8');
  if (isFrozen(currentVersion)) return [`${currentVersion} is released already.`];
  return [
    ...(changelog.includes(`\n## [${currentVersion}] - `) ? [] : [`CHANGELOG.md has no section ${currentVersion}.`]),
    ...findProblems({ version: currentVersion, documents, listed: readListedBreaks(), folder: releasesFolder }),
  ];
}
