// OPTIONS, which the gateway answers itself: a request that needs no credential must take no place of a service.
import type { IncomingMessage } from 'node:http';
import { accessLog } from '@promopulse/shared/http/request-log';
import { methods } from '@promopulse/shared/http/unparsed/parser-faults';
import type { Logger } from '@promopulse/shared/telemetry/logger';
import type { RouteOf } from '@promopulse/shared/telemetry/request-durations';
import type { Step } from './steps.ts';
import { pathOf } from './target.ts';

interface OptionsOptions {
  log: Logger;
  /** Whether a service owns the path of a request. */
  isForwarded(request: IncomingMessage): boolean;
  routeOf: RouteOf;
}

/**
 * Answers 204 with `Allow`, without reading a body: to `OPTIONS *`; to `OPTIONS /` with any query, by which load balancers
 * such as HAProxy check the health; and for each path of a service. There `Allow` has all methods that the gateway forwards:
 * it does not know the routes of a service, whose 405 names the methods of a path. Pages of the gateway answer with their
 * own 405. So no request is forwarded that may not be (`Max-Forwards`).
 */
export function answerOptions({ log, isForwarded, routeOf }: OptionsOptions): Step {
  const logAccess = accessLog(log, routeOf);
  const all = methods.join(', ');
  return (request, response, next) => {
    const { method, url = '', headers } = request;
    const isRoot = pathOf(url) === '/';
    const isLast = Number(headers['max-forwards'] ?? 1) === 0;
    if (method !== 'OPTIONS' || !(url === '*' || isRoot || isLast || isForwarded(request))) {
      next();
      return;
    }
    logAccess(request, response);
    response.writeHead(204, { Allow: isRoot ? 'GET, HEAD, OPTIONS' : all }).end();
  };
}
