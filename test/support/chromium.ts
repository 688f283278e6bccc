// Finds a Chromium for the test of /docs: the one at CHROMIUM_PATH or an installed one. For root on Debian and Ubuntu it
// installs the package of the distribution. TEST_BROWSER=never leaves the test out.
import { existsSync } from 'node:fs';
import { aptInstall, canAptInstall } from '../../local/apt.ts';

const knownPaths = [
  process.env.CHROMIUM_PATH,
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/snap/bin/chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
];

/** @throws Error when none is installed and none can be installed */
export async function findChromium(): Promise<string> {
  const found = () => knownPaths.find((path) => path && existsSync(path));
  if (!found() && canAptInstall()) {
    await aptInstall(['chromium'], (line) => process.stderr.write(`${line}\n`));
  }
  const path = found();
  if (path) return path;
  throw new Error(
    'The test of /docs needs a Chromium or Chrome. Install one, set CHROMIUM_PATH to its path, ' +
      'or leave the test out with TEST_BROWSER=never',
  );
}
