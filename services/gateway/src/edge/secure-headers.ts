// The security headers of every answer.
import type { Step } from './steps.ts';

/** Sets the defaults. A page or a service may replace them by its own. */
export const secureHeaders: Step = (_request, response, next) => {
  response.setHeader('X-Content-Type-Options', 'nosniff');
  response.setHeader('X-Frame-Options', 'DENY');
  response.setHeader('Referrer-Policy', 'no-referrer');
  response.setHeader('Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'");
  next();
};
