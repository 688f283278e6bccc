// Installs packages of the distribution that a test needs: only for root on Debian and Ubuntu. The system service of an
// installed package is not started.
import { execFile } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { isRoot } from './accounts.ts';

export function canAptInstall(): boolean {
  return isRoot && existsSync('/usr/bin/apt-get');
}

/** @throws Error with the last three lines of apt-get's standard error */
export async function aptInstall(packages: readonly string[], print: (line: string) => void): Promise<void> {
  const policy = '/usr/sbin/policy-rc.d'; // exit code 101: invoke-rc.d must not start the service
  const isOurs = !existsSync(policy);
  if (isOurs) writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  const removePolicy = (): void => {
    if (isOurs) rmSync(policy, { force: true });
  };
  process.once('exit', removePolicy);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const apt = (...args: string[]) =>
    promisify(execFile)('apt-get', ['-o', 'DPkg::Lock::Timeout=300', ...args], { env, maxBuffer: 64_000_000 });
  const names = packages.join(' ');
  try {
    print(`${names}: not installed; apt-get update …`);
    await apt('update');
    print(`${names}: apt-get install (about a minute) …`);
    await apt('install', '-y', '--no-install-recommends', ...packages);
    print(`${names}: installed`);
  } catch (error) {
    const { stderr = '' } = error as { stderr?: string };
    throw new Error(`${names} could not be installed: ${stderr.trim().split('\n').slice(-3).join(' ')}`);
  } finally {
    removePolicy();
    process.off('exit', removePolicy);
  }
}
