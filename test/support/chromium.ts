// A Chromium for the test that looks at /docs: CHROMIUM_PATH, an installed one, or (root on Debian or Ubuntu) the
// distribution's. TEST_BROWSER=never leaves the test out.
import { existsSync } from 'node:fs';
import { aptInstall, canAptInstall } from '../../local/apt.ts';

const places = [
  process.env.CHROMIUM_PATH,
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/snap/bin/chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
];

/** @throws when there is none and none can be installed */
export async function findChromium(): Promise<string> {
  const found = () => places.find((place) => place && existsSync(place));
  if (!found() && canAptInstall()) {
    await aptInstall(['chromium'], (line) => process.stderr.write(`${line}\n`));
  }
  const path = found();
  if (path) return path;
  throw new Error(
    'The test that opens /docs needs a Chromium or Chrome: install one, name it by CHROMIUM_PATH, or leave the test out by TEST_BROWSER=never',
  );
}
