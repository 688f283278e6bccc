// `npm run release:version -- 0.3.0`: the checkout becomes that version. It writes the version in every place, and makes
// the documents and the client's types again. After a release the list of breaks begins empty.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { currentVersion, isFrozen } from './baselines.ts';
import { emptyListedBreaks } from './listed-breaks.ts';
import { setVersion } from './version-places.ts';

const root = join(import.meta.dirname, '../..');
const generators = ['scripts/write-openapi.ts', 'packages/client/generate.ts', 'tools/events/generate.ts'];

const version = process.argv[2] ?? '';
if (!/^\d+\.\d+\.\d+$/.test(version)) {
  process.stderr.write('Usage: npm run release:version -- <version>, such as 0.3.0\n');
  process.exit(2);
}
if (isFrozen(version)) {
  process.stderr.write(`${version} is released. Take the next version.\n`);
  process.exit(1);
}
setVersion(root, version);
if (isFrozen(currentVersion)) emptyListedBreaks();
for (const file of generators) execFileSync(process.execPath, [join(root, file)], { cwd: root, stdio: 'inherit' });
process.stdout.write(`This checkout is ${version}.\n`);
