import { availableParallelism } from 'node:os';
import type { Config } from 'jest';

const config: Config = {
  testEnvironment: 'node',
  roots: ['<rootDir>/packages', '<rootDir>/services', '<rootDir>/local', '<rootDir>/tools', '<rootDir>/test'],
  testMatch: ['**/test/**/*.test.ts'],
  testPathIgnorePatterns: [
    '/node_modules/',
    // The tests of /docs and of CORS need Chromium, and that of requests.http clients that are not installed with the project.
    ...(process.env.TEST_BROWSER === 'never' ? ['/test/(docs|cors).e2e.test.ts'] : []),
    ...(process.env.TEST_HTTP_CLIENTS ? [] : ['/test/http-file.e2e.test.ts']),
  ],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {}, // Jest strips types by itself on Node 24
  globalSetup: '<rootDir>/test/support/global-setup.ts',
  globalTeardown: '<rootDir>/test/support/global-teardown.ts',
  testTimeout: 30_000,
  // Tests wait for servers most of the time: the cores are idle for much of a run with a worker for each.
  maxWorkers: Math.max(3, availableParallelism() - 1),
};
export default config;
