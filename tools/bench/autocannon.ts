// The load of wrk.ts by autocannon, in a process of its own: settings as JSON in, what came of them as JSON out.
import autocannon from 'autocannon';

const { url, method, path, body, a = 1, b = 1, connections, seconds } = JSON.parse(process.argv[2] ?? '{}');
const random = (most: number): string => String(1 + Math.floor(Math.random() * most));
const filled = (text: string): string => text.replaceAll('{a}', random(a)).replaceAll('{b}', random(b));

const result = await autocannon({
  url,
  connections,
  duration: seconds,
  requests: [
    {
      method,
      setupRequest: (request) => ({
        ...request,
        path: filled(path),
        ...(body && { headers: { 'content-type': 'application/json' }, body: filled(body) }),
      }),
    },
  ],
});
const count = result.requests.total;
process.stdout.write(
  JSON.stringify({
    load: { count, perSecond: count / result.duration, p50: result.latency.p50, p99: result.latency.p99 },
    failed: result.non2xx + result.errors,
  }),
);
