// The load of wrk.ts by autocannon, as a process of its own. Takes the settings as JSON in its first argument and
// prints the result as JSON.
import autocannon from 'autocannon';
import { fillIn } from './wrk.ts';

const { url, method, path, body, a, b, credential, connections, seconds } = JSON.parse(process.argv[2] ?? '{}');

const result = await autocannon({
  url,
  connections,
  duration: seconds,
  requests: [
    {
      method,
      setupRequest: (request) => ({
        ...request,
        path: fillIn(path, { a, b }),
        headers: {
          ...(body && { 'content-type': 'application/json' }),
          ...(credential && { authorization: `Bearer ${credential}` }),
        },
        ...(body && { body: fillIn(body, { a, b }) }),
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
