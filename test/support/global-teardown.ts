// Runs once after all test files: stops the backends that global-setup.ts started.
import type { TestRun } from './global-setup.ts';

export default async function teardown(): Promise<void> {
  await (globalThis as TestRun).stopBackends?.();
}
