// Installs what a test needs from the distribution's packages: root on Debian or Ubuntu only. A package's own system
// service is kept from starting.
import { execFile } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { isRoot } from './accounts.ts';

export function canAptInstall(): boolean {
  return isRoot && existsSync('/usr/bin/apt-get');
}

/** @throws with the end of what apt-get said */
export async function aptInstall(packages: readonly string[], print: (line: string) => void): Promise<void> {
  const policy = '/usr/sbin/policy-rc.d'; // 101 tells invoke-rc.d that the service may not be started
  const ours = !existsSync(policy);
  if (ours) writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  const removePolicy = (): void => {
    if (ours) rmSync(policy, { force: true });
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
