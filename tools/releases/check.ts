// `npm run check:breaks`: fails when this checkout breaks users of the release before it in the HTTP API, the events or the
// environment variables, in a way that docs/releases/breaks.json does not list with its reason.
import { currentDocuments, currentVersion, releaseBefore, releasesFolder } from './baselines.ts';
import { findProblems } from './find-problems.ts';
import { readListedBreaks } from './listed-breaks.ts';

const problems = findProblems({
  version: currentVersion,
  documents: await currentDocuments(),
  listed: readListedBreaks(),
  folder: releasesFolder,
});
for (const problem of problems) process.stdout.write(`${problem}\n`);
if (problems.length === 0) {
  const release = releaseBefore(currentVersion);
  process.stdout.write(`${currentVersion} breaks nothing of ${release} but what docs/releases/breaks.json lists.\n`);
}
process.exitCode = problems.length > 0 ? 1 : 0;
