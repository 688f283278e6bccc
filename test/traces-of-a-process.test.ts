// A gateway as a process of its own: which modules of OpenTelemetry it loads, and what it exports when it is stopped.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { internalServiceUrls, serviceUrls } from '@promopulse/shared/contracts/services';
import { childEnvironment } from '@promopulse/testing/child-environment';
import { eventually } from '@promopulse/testing/eventually';
import { startOtlpReceiver } from '@promopulse/testing/otlp-receiver';

const main = join(import.meta.dirname, '../services/gateway/src/main.ts');
/** Writes the URL of each module of OpenTelemetry that is loaded. */
const hooks = `import { registerHooks } from 'node:module';
registerHooks({ load(url, context, next) {
  if (url.includes('/@opentelemetry/')) process.stderr.write(url + '\\n');
  return next(url, context);
} });`;
const nowhere = 'http://127.0.0.1:9';

/** Starts a gateway, sends one request, and stops it. @returns the packages of OpenTelemetry that it has loaded */
async function loadedPackages(env: Record<string, string>): Promise<Set<string>> {
  const child = spawn(process.execPath, ['--import', `data:text/javascript,${encodeURIComponent(hooks)}`, main], {
    env: {
      ...childEnvironment,
      ...serviceUrls(() => nowhere),
      ...internalServiceUrls(() => nowhere),
      HOST: '127.0.0.1',
      PORT: '0',
      ...env,
    },
  });
  const exited = once(child, 'exit');
  const [output, errors]: [string[], string[]] = [[], []];
  child.stdout.on('data', (chunk) => output.push(String(chunk)));
  child.stderr.on('data', (chunk) => errors.push(String(chunk)));
  try {
    const port = await eventually(
      () => {
        const line = output
          .join('')
          .split('\n')
          .find((each) => each.includes('"listening"'));
        if (!line) throw new Error(`not listening: ${errors.join('')}`);
        return JSON.parse(line).port as number;
      },
      { timeoutMs: 60_000 },
    );
    expect((await fetch(`http://127.0.0.1:${port}/nothing`)).status).toBe(404);
  } finally {
    child.kill('SIGTERM');
  }
  expect(await exited).toEqual([0, null]);
  const urls = errors.join('').split('\n').filter(Boolean);
  return new Set(urls.map((url) => /\/@opentelemetry\/([^/]+)/.exec(url)?.[1] ?? url));
}

test('without a collector a process loads the API of OpenTelemetry, and nothing of its SDK', async () => {
  expect(await loadedPackages({ OTEL_TRACES_SAMPLER: 'always_on' })).toEqual(new Set(['api']));
}, 90_000);

test('with a collector it loads the SDK, and SIGTERM exports what is left', async () => {
  const receiver = await startOtlpReceiver();
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, OTEL_BSP_SCHEDULE_DELAY: '60000' };
  expect([...(await loadedPackages(env))]).toEqual(
    expect.arrayContaining(['api', 'sdk-trace', 'exporter-trace-otlp-http']),
  );
  expect(receiver.spans).toMatchObject([
    { name: 'GET', kind: 'SERVER', attributes: { 'http.response.status_code': 404 } },
  ]);
  await receiver.close();
}, 90_000);
