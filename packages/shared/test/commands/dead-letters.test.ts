// The operator's command, run as a process.

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from '@jest/globals';
import { childEnvironment } from '@promopulse/testing/child-environment';
import { Unprocessable } from '../../src/messaging/broker.ts';
import {
  amqpUrl,
  connected,
  memoryTransport,
  message,
  publishUntilConfirmed,
  queue,
  rabbitTransport,
  type Transport,
  waitForDeadLetters,
} from '../messaging/transports.ts';

const command = fileURLToPath(new URL('../../src/commands/dead-letters.ts', import.meta.url));

interface CommandResult {
  code: number;
  stdout: string;
  stderr: string;
}

function run(args: string[], env: Record<string, string>): Promise<CommandResult> {
  return new Promise((resolve) => {
    const done = (error: { code?: unknown } | null, stdout: string, stderr: string): void =>
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
    execFile(process.execPath, [command, ...args], { env: { ...childEnvironment, ...env } }, done);
  });
}

const stores: { name: string; start(): Promise<{ transport: Transport; env: Record<string, string> }> }[] = [
  {
    name: 'RabbitMQ',
    start: async () => {
      const transport = rabbitTransport();
      return { transport, env: { AMQP_URL: amqpUrl(), AMQP_PREFIX: transport.prefix } };
    },
  },
  {
    name: 'files',
    start: async () => {
      const transport = await memoryTransport();
      return { transport, env: { DEAD_LETTER_DIR: transport.dir } };
    },
  },
];

describe.each(stores)('the dead letter command on $name', ({ start }) => {
  let transport: Transport | undefined;
  afterEach(async () => {
    await transport?.end();
    transport = undefined;
  });

  test('lists dead letters as a table and as JSON, shows, discards and replays the given ones', async () => {
    const started = await start();
    transport = started.transport;
    const { env } = started;
    const broker = transport.connect();
    const handle = async (): Promise<void> => {
      throw new Unprocessable('no');
    };
    broker.consume({ queue, bindings: ['promotion.*'], handle });
    await connected(broker);
    expect(await run(['list'], env)).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^No dead letters in \S+\.\n$/),
      stderr: '',
    });
    await publishUntilConfirmed(
      broker,
      ['first', 'second', 'third', 'bad\u001b[2J'].map((id) =>
        message({ id, body: id === 'first' ? '{"requestid":"r1"}' : 'not JSON\u0007\nnext line' }),
      ),
    );
    const store = await transport.openDeadLetters();
    const list = await waitForDeadLetters(store, 4);
    await store.close();
    await broker.close();

    const { stdout } = await run(['list'], env);
    const [head, ...rows] = stdout.trimEnd().split('\n');
    expect(head).toMatch(/^ID +QUEUE +ROUTING KEY +REASON +ATTEMPTS +FAILED AT$/);
    expect(rows).toHaveLength(4);
    expect(rows.find((row) => row.startsWith('first'))).toMatch(
      /^first +subscriptions\.projections +promotion\.created +Unprocessable +1 +\d{4}-\S+Z$/,
    );
    expect(stdout).not.toContain('\u001b');
    const json = JSON.parse((await run(['list', '--json'], env)).stdout);
    expect(json.find(({ id }: { id: string }) => id === 'first')).toEqual(list.find(({ id }) => id === 'first'));
    expect(await run(['show', 'first', 'unknown'], env)).toEqual({
      code: 1,
      stdout: expect.stringMatching(
        /^id: +first\nqueue: +subscriptions\.projections\nrouting key: +promotion\.created\nreason: +Unprocessable\nattempts: +1\nfailed at: +\d{4}-\S+Z\npublished by: +\w+\n\n\{\n {2}"requestid": "r1"\n\}\n$/,
      ),
      stderr: '',
    });
    expect(await run(['show', 'bad\u001b[2J'], env)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^id: +bad\?\[2J\n[\s\S]*\n\nnot JSON\?\nnext line\n$/),
    });
    expect(await run(['show', 'unknown'], env)).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/^None of these dead letters is in \S+\.\n$/),
    });
    expect(await run(['discard', 'first', 'second'], env)).toMatchObject({ code: 0, stdout: 'Discarded: 2 of 2.\n' });
    expect(await run(['replay', 'third'], env)).toMatchObject({ code: 0, stdout: 'Replayed: 1 of 1.\n' });
    expect(await run(['replay', 'unknown'], env)).toMatchObject({ code: 1, stdout: 'Replayed: 0 of 1.\n' });
    expect(await run(['discard', '--all'], env)).toMatchObject({ code: 0, stdout: 'Discarded: 1.\n' });
    expect(await run(['list'], env)).toMatchObject({ stdout: expect.stringMatching(/^No dead letters in /) });
  });
});

const invalidCommands = [
  '',
  'look',
  'show',
  'show --all',
  'show id --json',
  'replay',
  'discard',
  'discard --all id',
  'list id',
  'list --all',
  'list --wrong',
];
test.each(invalidCommands)('called with "%s" it shows its usage and exits with 2', async (line) => {
  const args = line.split(' ').filter((word) => word !== '');
  const { code, stdout, stderr } = await run(args, { DEAD_LETTER_DIR: 'nowhere' });
  expect(code).toBe(2);
  expect(stdout).toBe('');
  expect(stderr).toMatch(/^Usage: dead-letters list/);
});

test('an AMQP_URL that is none is named', async () => {
  const { code, stderr } = await run(['list'], { AMQP_URL: 'localhost:5672' });
  expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('AMQP_URL is not valid') });
});

test('a RabbitMQ that cannot be reached is reported in one line, with exit code 1', async () => {
  const { code, stderr } = await run(['list'], { AMQP_URL: 'amqp://127.0.0.1:1' });
  expect(code).toBe(1);
  expect(stderr).toMatch(/^The dead letters cannot be reached: .*ECONNREFUSED.*\n$/);
});
