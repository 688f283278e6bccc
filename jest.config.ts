import { availableParallelism } from 'node:os';
import type { Config } from 'jest';

const config: Config = {
  testEnvironment: 'node',
  roots: ['<rootDir>/packages', '<rootDir>/services', '<rootDir>/local', '<rootDir>/tools', '<rootDir>/test'],
  testMatch: ['**/test/**/*.test.ts'],
  // Opens /docs in Chromium.
  testPathIgnorePatterns:
    process.env.TEST_BROWSER === 'never' ? ['/node_modules/', '/test/docs.e2e.test.ts'] : ['/node_modules/'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {}, // Jest strips types by itself on Node 24
  globalSetup: '<rootDir>/test/support/global-setup.ts',
  globalTeardown: '<rootDir>/test/support/global-teardown.ts',
  testTimeout: 30_000,
  // The tests mostly wait for servers; on two cores Jest alone would use one worker.
  maxWorkers: Math.max(2, availableParallelism() - 1),
};
export default config;
