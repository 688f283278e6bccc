import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { type Environment, loadConfig, processConfig } from '../src/config.ts';
import { databaseConfig } from '../src/database/database.ts';

const schema = z.object({
  ...processConfig,
  ...databaseConfig,
  SECRET: z.string().regex(/^[a-z]{8}$/, 'must be eight letters'),
  OPTION: z.string().default('as usual'),
});

const complete = { PORT: '8000', DATABASE_URL: 'postgres://users@db/app', SECRET: 'abcdefgh' };

function configError(env: Environment): string {
  try {
    loadConfig(schema, env);
  } catch (error) {
    expect(error).toMatchObject({ name: 'ConfigError' });
    return (error as Error).message;
  }
  throw new Error('the environment was accepted');
}

test('a variable is converted by type, and an unset one has its default', () => {
  expect(loadConfig(schema, { ...complete, LOG_LEVEL: 'warn', DATABASE_POOL_MAX: '7', UNRELATED: 'x' })).toEqual({
    ENVIRONMENT: 'development',
    HOST: '0.0.0.0',
    PORT: 8000,
    LOG_LEVEL: 'warn',
    SHUTDOWN_TIMEOUT_MS: 10_000,
    DATABASE_URL: 'postgres://users@db/app',
    DATABASE_POOL_MAX: 7,
    DATABASE_PIPELINED_CONNECTIONS: 4,
    SECRET: 'abcdefgh',
    OPTION: 'as usual',
  });
});

test('white space around a value is not part of it', () => {
  expect(loadConfig(schema, { ...complete, PORT: ' 8000 ', SECRET: 'abcdefgh\n' })).toMatchObject({
    PORT: 8000,
    SECRET: 'abcdefgh',
  });
});

test('the result is frozen', () => {
  expect(Object.isFrozen(loadConfig(schema, complete))).toBe(true);
});

test('one message names every missing or malformed variable in our own words, and no value', () => {
  const message = configError({
    PORT: '70000',
    LOG_LEVEL: 'shouting',
    SHUTDOWN_TIMEOUT_MS: 'soonish',
    DATABASE_URL: 'mysql://root:hunter2@db/app',
    DATABASE_POOL_MAX: '2.5',
  });
  for (const line of [
    /- PORT is not valid: must be at most 65535$/m,
    /- LOG_LEVEL is not valid: must be one of trace, debug, info, warn, error, fatal, silent$/m,
    /- SHUTDOWN_TIMEOUT_MS is not valid: must be a number$/m,
    /- DATABASE_URL is not valid: must be a postgres:\/\/ URL/,
    /- DATABASE_POOL_MAX is not valid: must be an integer$/m,
    /- SECRET is not set/,
  ]) {
    expect(message).toMatch(line);
  }
  expect(message).not.toMatch(/70000|shouting|soonish|hunter2|2\.5/);
  expect(message).not.toMatch(/OPTION|HOST/);
});

test.each(['', ' ', '\t\n'])('a variable set to %j counts as not set', (blank) => {
  expect(loadConfig(schema, { ...complete, OPTION: blank, HOST: blank })).toMatchObject({
    OPTION: 'as usual',
    HOST: '0.0.0.0',
  });
  expect(configError({ ...complete, PORT: blank, SECRET: blank })).toBe(
    'The environment is not valid:\n  - PORT is not set\n  - SECRET is not set',
  );
});

test.each(['-1', '65536', '80.5', 'Infinity', '8 0', 'http'])('the port %j is rejected', (port) => {
  expect(configError({ ...complete, PORT: port })).toMatch(/^The environment is not valid:\n {2}- PORT is not valid/);
});

describe('a value in a file', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'config-'));
    writeFileSync(join(folder, 'secret'), 'fromfile\n');
    writeFileSync(join(folder, 'wrong'), 'hunter2\n');
    writeFileSync(join(folder, 'blank'), '\n');
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const withFile = (name: string, more: Environment = { SECRET: undefined }): Environment => ({
    ...complete,
    SECRET_FILE: join(folder, name),
    ...more,
  });

  test('is read through NAME_FILE, without the line end', () => {
    expect(loadConfig(schema, withFile('secret')).SECRET).toBe('fromfile');
  });

  test('is read when NAME itself is empty, and an empty NAME_FILE counts as not set', () => {
    expect(loadConfig(schema, withFile('secret', { SECRET: '' })).SECRET).toBe('fromfile');
    expect(loadConfig(schema, { ...complete, SECRET_FILE: '' }).SECRET).toBe('abcdefgh');
  });

  test('is validated like any other, and the message does not contain it', () => {
    expect(configError(withFile('wrong'))).toBe(
      'The environment is not valid:\n  - SECRET is not valid: must be eight letters',
    );
  });

  test('is rejected if NAME is set as well', () => {
    expect(configError(withFile('secret', {}))).toBe(
      'The environment is not valid:\n  - SECRET and SECRET_FILE are both set: keep one',
    );
  });

  test.each(['nowhere', '.'])('that cannot be read (%s) is reported once, without its path', (name) => {
    expect(configError(withFile(name))).toBe('The environment is not valid:\n  - SECRET_FILE cannot be read');
  });

  test('that is empty is reported, also if the variable has a default', () => {
    const env = { ...withFile('blank'), OPTION_FILE: join(folder, 'blank') };
    expect(configError(env)).toBe(
      'The environment is not valid:\n  - SECRET_FILE names an empty file\n  - OPTION_FILE names an empty file',
    );
  });
});
