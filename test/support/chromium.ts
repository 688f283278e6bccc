// Finds a Chromium for the tests of /docs and of CORS: the one at CHROMIUM_PATH or an installed one. On Debian it installs the package
// of the distribution as root, and unpacks it for another user. TEST_BROWSER=never leaves them out.
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { aptInstall, canAptInstall } from '../../local/apt.ts';
import { canUnpack, unpackedEnvironment, unpackPackage } from '../../local/unpacked-packages.ts';

const knownPaths = [
  process.env.CHROMIUM_PATH,
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/snap/bin/chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
];

const print = (line: string): void => void process.stderr.write(`${line}\n`);

/** @throws Error when there is none, and none can be installed or unpacked */
export async function findChromium(): Promise<string> {
  const found = () => knownPaths.find((path) => path && existsSync(path));
  if (!found() && canAptInstall()) await aptInstall(['chromium'], print);
  const path = found() ?? (canUnpack() ? await unpackChromium() : undefined);
  if (path) return path;
  throw new Error(
    'The tests in a browser need a Chromium or Chrome. Install one, set CHROMIUM_PATH to its path, ' +
      'or leave them out with TEST_BROWSER=never',
  );
}

/** @returns undefined where the package contains no program, as on Ubuntu, or cannot be had */
async function unpackChromium(): Promise<string | undefined> {
  try {
    const folder = await unpackPackage('chromium', print);
    const program = join(folder, 'usr/lib/chromium/chromium');
    if (!existsSync(program)) return undefined;
    const starter = join(folder, 'chromium');
    const { LD_LIBRARY_PATH } = unpackedEnvironment(folder);
    writeFileSync(starter, `#!/bin/sh\nexport LD_LIBRARY_PATH='${LD_LIBRARY_PATH}'\nexec '${program}' "$@"\n`, {
      mode: 0o755,
    });
    return starter;
  } catch (error) {
    print((error as Error).message);
    return undefined;
  }
}
