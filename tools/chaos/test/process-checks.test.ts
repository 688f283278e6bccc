// The promise: a log shows a lost connection, an error and a crash of Node.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import { maintainConnection } from '@promopulse/shared/messaging/rabbitmq/connection';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { eventually } from '@promopulse/testing/eventually';
import { checkBrokerConnections, checkProcesses } from '../process-checks.ts';

const folder = mkdtempSync(join(tmpdir(), 'promopulse-logs-'));
const logFile = join(folder, 'users-1.log');
afterAll(() => rmSync(folder, { recursive: true }));

/** @returns the number of lost connections, and of errors */
function breachesOf(line: string): number[] {
  writeFileSync(logFile, `${line}\n`);
  const checks = [checkBrokerConnections({ logFiles: [logFile] }), checkProcesses({ exits: [], logFiles: [logFile] })];
  return checks.map(({ breaches }) => breaches.length);
}

test('a log line of a lost connection, of an error, or of Node itself when it crashes is a breach', async () => {
  expect(breachesOf('{"level":"info","connection":"users in","msg":"connected to the broker"}')).toEqual([0, 0]);
  expect(breachesOf(await lineOfLostConnection())).toEqual([1, 0]);
  expect(breachesOf('{"level":"error","msg":"relay cannot compete for the lead"}')).toEqual([0, 1]);
  expect(breachesOf('Error: out of memory')).toEqual([0, 1]);
});

/** As shared logs it, so that a change of the line there cannot blind the check. */
async function lineOfLostConnection(): Promise<string> {
  const lines: string[] = [];
  const log = createLogger({
    service: 'users',
    level: 'info',
    destination: { write: (line: string) => void lines.push(line.trim()) },
  });
  const connection = maintainConnection({
    endpoint: { url: 'amqp://127.0.0.1:1' },
    log,
    name: 'users in',
    setUp: async () => undefined,
  });
  await eventually(() => expect(lines).toHaveLength(1));
  await connection.close();
  return lines[0] ?? '';
}
