// The curl commands of the README get the answers that it prints.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { readCurlCommands } from './support/examples.ts';
import { type RunningStack, startFreshStack } from './support/stack.ts';

let stack: RunningStack;
beforeAll(async () => {
  stack = await startFreshStack('memory');
}, 60_000);
afterAll(() => stack?.close());

test('after a first start, every command of the tour gets the printed answer', async () => {
  const commands = readCurlCommands('A tour with curl');
  expect(commands.length).toBeGreaterThan(10);
  for (const { shell, expect: expected } of commands) {
    const here = shell.replaceAll('localhost:8000', new URL(stack.url).host);
    const { stdout } = await promisify(execFile)('bash', ['-c', `${here} -s -w '\\n%{http_code}'`]);
    const lines = stdout.split('\n');
    const status = Number(lines.pop());
    expect([shell, status, JSON.parse(lines.join('\n'))]).toEqual([
      shell,
      expected.status,
      expect.objectContaining(expected.body),
    ]);
  }
});
