// The promise: the search for personal data finds a mark wherever a run may leave one.
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, test } from '@jest/globals';
import { withClient } from '@promopulse/shared/database/provision';
import { openConnection } from '@promopulse/shared/messaging/rabbitmq/connection';
import { topologyOf } from '@promopulse/shared/messaging/rabbitmq/topology';
import { amqpUrl, createTestDatabase, deleteTopology, uniquePrefix } from '@promopulse/testing/servers';
import { seededRandom } from '../../../local/random.ts';
import {
  checkCanary,
  emailOf,
  makeCanary,
  phoneOf,
  type SearchedText,
  textsInDeadLetters,
  textsInErrorResponses,
  textsInFiles,
  textsInRows,
} from '../canary.ts';
import { startLoad } from '../load.ts';

describe('the search for personal data', () => {
  const canary = makeCanary(seededRandom(7));
  const folder = mkdtempSync(join(tmpdir(), 'promopulse-canary-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const email = emailOf(canary, 1).toUpperCase();
  const phone = phoneOf(canary, 12);
  const countFindings = async (texts: Iterable<SearchedText>): Promise<number> =>
    (await checkCanary(canary, texts, [])).breaches.length;

  test("finds it in a log, and in the middle of a server's data file", async () => {
    mkdirSync(join(folder, 'rabbitmq', 'data'), { recursive: true });
    writeFileSync(join(folder, 'users-1.log'), '{"msg":"nothing"}\n');
    expect(await countFindings(textsInFiles([folder]))).toBe(0);
    writeFileSync(join(folder, 'users-1.log'), `{"msg":"${email}"}\n`);
    expect(await countFindings(textsInFiles([folder]))).toBe(1);
    // On the boundary of two chunks of a large file.
    const data = Buffer.alloc(33 * 2 ** 20, 0xff);
    data.write(phone, 16 * 2 ** 20 - 6);
    writeFileSync(join(folder, 'rabbitmq', 'data', '0001.wal'), data);
    expect(await countFindings(textsInFiles([folder]))).toBe(2);
  });

  test('finds it in any table of any schema', async () => {
    const database = await createTestDatabase();
    try {
      await withClient(database.adminUrl, async (client) => {
        await client.query(
          'create table users.documents (body jsonb); create schema other; create table other.t (x text)',
        );
        expect(await countFindings(await textsInRows(database.adminUrl))).toBe(0);
        await client.query('insert into users.documents values ($1)', [JSON.stringify({ deep: [email] })]);
        await client.query('insert into other.t values ($1)', [phone]);
      });
      expect(await countFindings(await textsInRows(database.adminUrl))).toBe(2);
    } finally {
      await database.drop();
    }
  });

  test('finds it in a dead letter', async () => {
    const prefix = uniquePrefix();
    expect(await countFindings(await textsInDeadLetters(amqpUrl(), prefix))).toBe(0);
    const connection = await openConnection({ url: amqpUrl() }, 'canary', new AbortController());
    try {
      const channel = await connection.createConfirmChannel();
      const content = Buffer.from(JSON.stringify({ email }));
      channel.sendToQueue(topologyOf(prefix).deadQueue('subscriptions.projections'), content);
      await channel.waitForConfirms();
      expect(await countFindings(await textsInDeadLetters(amqpUrl(), prefix))).toBe(1);
    } finally {
      await connection.close();
      await deleteTopology(prefix);
    }
  });

  test('finds it in the headers and the body of an error response that the load recorded', async () => {
    const server = createServer((request, response) => {
      response.writeHead(422, { 'x-detail': request.headers['x-request-id'] === 'chaos-1' ? canary.mark : 'fine' });
      response.end(JSON.stringify({ detail: `no ${phone}` }));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const load = startLoad({ url, random: seededRandom(1), perSecond: 50, canary, credential: undefined });
    while (load.history.length < 2) await sleep(20);
    await load.stop();
    server.close();
    expect(await countFindings(textsInErrorResponses(load.history))).toBe(load.history.length + 1);
  });

  test('is a breach itself when there was no text to search', async () => {
    expect((await checkCanary(canary, [])).breaches).toHaveLength(3);
  });
});
