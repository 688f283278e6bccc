// What a database URL may say. test/database-tls.e2e.test.ts connects with such URLs to a server that takes TLS only.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { loadConfig } from '../../src/config.ts';
import {
  changeDatabaseUrl,
  connectionOptions,
  databaseUrl,
  readDatabaseUrl,
} from '../../src/database/connection-settings.ts';

const host = 'postgres://me:hunter2@db.example';
let folder: string;
const at = (name: string) => encodeURIComponent(join(folder, name));

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'connection-'));
  for (const name of ['ca', 'client']) {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${name}.key`];
    const options = ['req', '-x509', '-subj', `/CN=${name}`, ...key, '-out', `${name}.crt`];
    execFileSync('openssl', options, { cwd: folder, stdio: 'pipe' });
  }
  writeFileSync(join(folder, 'text'), 'hunter2');
});
afterAll(() => rmSync(folder, { recursive: true }));

function refusalOf(url: string): string {
  const load = () => loadConfig(z.object({ DATABASE_URL: databaseUrl }), { DATABASE_URL: url });
  expect(load).toThrow(expect.objectContaining({ name: 'ConfigError' }));
  try {
    load();
  } catch (error) {
    const [, line, ...rest] = (error as Error).message.split('\n');
    expect(rest).toEqual([]);
    expect(line).not.toMatch(/hunter2|secret/);
    return String(line).replace('  - DATABASE_URL is not valid: ', '');
  }
  return '';
}

describe('the address', () => {
  test('has the usual port, and no TLS, unless the URL says otherwise', () => {
    const address = { host: 'db.example', user: 'me', password: 'hunter2', database: 'app', ssl: false };
    expect(readDatabaseUrl(`${host}/app`)).toEqual({ ...address, port: 5432 });
    expect(readDatabaseUrl('postgresql://me:hunter2@db.example:6543/app')).toEqual({ ...address, port: 6543 });
  });

  test('may have any character in its user, password and database, percent-encoded', () => {
    const odd = `@:/?#[] %,&=+"'\\ü€😀`;
    const text = encodeURIComponent(odd);
    const url = `postgres://${text}:${text}@db/${text}`;
    expect(readDatabaseUrl(url)).toMatchObject({ host: 'db', user: odd, password: odd, database: odd });
    const changed = changeDatabaseUrl(`${host}/app?sslmode=require`, { database: odd, user: odd, password: odd });
    expect(readDatabaseUrl(changed)).toMatchObject({ host: 'db.example', user: odd, password: odd, database: odd });
    expect(readDatabaseUrl(changed).ssl).toBeTruthy();
  });

  test.each([
    ['postgres://me@[::1]:5433/app', { host: '::1', port: 5433 }],
    ['postgres://me@localhost/app?host=/var/run/postgresql', { host: '/var/run/postgresql', port: 5432 }],
    ['postgres://me:hunter2@/app?host=/cloudsql/a%3Ab', { host: '/cloudsql/a:b', user: 'me', password: 'hunter2' }],
    ['postgres:///app?host=/tmp', { host: '/tmp', user: '', database: 'app' }],
    ['postgres://%2Fvar%2Frun/app?sslmode=disable', { host: '/var/run', ssl: false }],
    ['postgres://me@db', { database: undefined }],
  ])('%s', (url, address) => {
    expect(readDatabaseUrl(url)).toMatchObject(address);
  });

  test.each([
    ['foo', /^must be a postgres:\/\/ URL/],
    ['mysql://me:hunter2@db/app', /^must be a postgres:\/\/ URL/],
    ['host=db user=me password=hunter2', /^must be a postgres:\/\/ URL/],
    ['postgres://me:hunter2@db:port/app', /^must be a postgres:\/\/ URL/],
    ['postgres://me:hunter2@/app', /^names no host/],
    ['postgres:///app', /^names no host/],
    ['postgres://me:hunter2@db', /^names no database/],
    ['postgres://me:hunter2@db/', /^names no database/],
    ['postgres://me:hunter2@a:5432,b:5432/app', /^names several hosts/],
    ['postgres://me:hunter2@a,b/app', /^names several hosts/],
    ['postgres://me:hunter2@db/app?host=other', /host that is no folder/],
    ['postgres://me:100%hunter2@db/app', /% in its password .* write it as %25/],
    ['postgres://me:hunter2%00@db/app', /zero byte in its password/],
    ['postgres://me:12/hunter2@db/app', /@ or a # behind the host: .*%2F/],
    ['postgres://me:12?hunter2@db/app', /@ or a # behind the host: .*%3F/],
    ['postgres://me:12#hunter2@db/app', /@ or a # behind the host: .*%23/],
    ['postgres://me:secret/hunter2', /^must be a postgres:\/\/ URL: .*%2F/],
  ])('%s is refused', (url, reason) => {
    expect(refusalOf(url)).toMatch(reason);
  });
});

describe('a parameter', () => {
  test('is refused by name, without its value, unless it is one of the supported', () => {
    const others = ['sslmod', 'channel_binding', 'connect_timeout', 'schema', 'pgbouncer', 'target_session_attrs'];
    for (const name of [...others, 'sslpassword', 'password', 'SSLMODE', 'uselibpqcompat', 'sslcrl']) {
      expect(refusalOf(`${host}/app?sslmode=require&${name}=secret`)).toMatch(
        new RegExp(`^has the parameter ${name}, which is not supported. Supported: .*sslmode`),
      );
    }
    expect(refusalOf(`${host}/app?hunter2=1`)).toMatch(/^has the parameter, which/);
    expect(refusalOf(`${host}/app?sslmode=disable&sslmode=require`)).toMatch(/sslmode twice/);
  });

  test('application_name replaces the name of the service, and options are set before its own', () => {
    const plain = connectionOptions({ url: `${host}/app`, schema: 'users' });
    expect(plain).toMatchObject({ application_name: 'promopulse-users' });
    const url = `${host}/app?application_name=blue%20users&options=-c%20work_mem%3D8MB%20-c%20search_path%3Dother`;
    expect(connectionOptions({ url, schema: 'users' })).toEqual({
      ...plain,
      application_name: 'blue users',
      options: `-c work_mem=8MB -c search_path=other ${plain.options}`,
    });
  });
});

describe('TLS', () => {
  const sslOf = (parameters: string) => readDatabaseUrl(`${host}/app?${parameters}`).ssl;
  const others = (name: string) => ({ subject: { CN: name }, subjectaltname: `DNS:${name}` }) as never;
  /** Whether a certificate of another host, and of this one, is accepted when its CA is. */
  function hostsOf(parameters: string) {
    const ssl = sslOf(parameters);
    if (!ssl) return undefined;
    const accepts = (name: string) => ssl.checkServerIdentity?.('ignored', others(name)) === undefined;
    return { verifiesCa: ssl.rejectUnauthorized, ownCa: Boolean(ssl.ca), accepts: ['db.example', 'x'].map(accepts) };
  }
  const encryptedOnly = { verifiesCa: false, ownCa: false, accepts: [true, true] };
  const verifyCa = { verifiesCa: true, ownCa: true, accepts: [true, true] };
  const verifyFull = { verifiesCa: true, ownCa: true, accepts: [true, false] };

  test.each([
    ['sslmode=disable', undefined],
    ['ssl=false', undefined],
    ['sslmode=disable&sslrootcert=/nowhere', undefined],
    ['sslmode=require', encryptedOnly],
    ['ssl=true', encryptedOnly],
    ['sslmode=require&sslrootcert=CA', verifyCa],
    ['ssl=true&sslrootcert=CA', verifyCa],
    ['sslmode=verify-ca&sslrootcert=CA', verifyCa],
    ['sslmode=verify-full&sslrootcert=CA', verifyFull],
    ['sslrootcert=CA', verifyFull],
    ['sslmode=verify-full', { ...verifyFull, ownCa: false }],
  ])('of %s verifies as libpq does', (parameters, expected) => {
    expect(hostsOf(parameters.replace('CA', at('ca.crt')))).toEqual(expected);
  });

  test('takes a client certificate with its key, and the CAs of the system', () => {
    const ssl = sslOf(`sslmode=require&sslcert=${at('client.crt')}&sslkey=${at('client.key')}`);
    expect(ssl).toMatchObject({ cert: expect.stringContaining('CERTIFICATE'), key: expect.stringContaining('KEY') });
    expect(sslOf('sslmode=verify-full&sslrootcert=system')).toMatchObject({ ca: expect.any(Array) });
  });

  test.each([
    ['sslmode=prefer', /^has sslmode=prefer, which falls back to no TLS/],
    ['sslmode=allow', /^has sslmode=allow, which falls back to no TLS/],
    ['sslmode=no-verify', /^has an unknown sslmode. Use one of disable, require, verify-ca, verify-full/],
    ['sslmode=', /unknown sslmode/],
    ['ssl=yes', /an ssl that is neither true nor false/],
    ['ssl=true&sslmode=require', /both ssl and sslmode/],
    ['sslmode=verify-ca', /verify-ca without sslrootcert/],
    ['sslmode=require&sslrootcert=system', /sslrootcert=system with a weaker sslmode/],
    ['sslmode=verify-full&sslrootcert=/nowhere/hunter2', /sslrootcert that cannot be read \(ENOENT\)/],
    ['sslmode=verify-full&sslrootcert=TEXT', /sslrootcert that is no certificate/],
    ['sslmode=verify-full&sslcert=CERT', /only one of sslcert and sslkey/],
    ['sslmode=verify-full&sslkey=KEY', /only one of sslcert and sslkey/],
    ['sslmode=verify-full&sslcert=CERT&sslkey=OTHER', /no certificate and its key/],
    ['sslmode=verify-full&sslcert=CERT&sslkey=TEXT', /no certificate and its key/],
    ['sslmode=require&host=/tmp', /TLS on a socket/],
  ])('of %s is refused', (parameters, reason) => {
    const files = { TEXT: 'text', CERT: 'client.crt', KEY: 'client.key', OTHER: 'ca.key' };
    const filled = parameters.replaceAll(/TEXT|CERT|KEY|OTHER/g, (name) => at(files[name as keyof typeof files]));
    expect(refusalOf(`${host}/app?${filled}`)).toMatch(reason);
  });
});
