import { availableParallelism } from 'node:os';
import type { Config } from 'jest';

const config: Config = {
  testEnvironment: 'node',
  roots: ['<rootDir>/packages', '<rootDir>/services', '<rootDir>/local', '<rootDir>/tools', '<rootDir>/test'],
  testMatch: ['**/test/**/*.test.ts'],
  // The test of /docs needs Chromium.
  testPathIgnorePatterns:
    process.env.TEST_BROWSER === 'never' ? ['/node_modules/', '/test/docs.e2e.test.ts'] : ['/node_modules/'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {}, // Jest strips types by itself on Node 24
  globalSetup: '<rootDir>/test/support/global-setup.ts',
  globalTeardown: '<rootDir>/test/support/global-teardown.ts',
  testTimeout: 30_000,
  // Tests wait for servers most of the time. By default Jest would use one worker on two cores.
  maxWorkers: Math.max(2, availableParallelism() - 1),
};
export default config;
