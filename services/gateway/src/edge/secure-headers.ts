// The security headers of every answer.
import type { Step } from './steps.ts';

/** Name → default value. Answers may hold personal data, so no cache stores them: a page of the documentation may say otherwise. */
export const securityHeaders: Readonly<Record<string, string>> = {
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'Cache-Control': 'no-store',
};
const defaults = Object.entries(securityHeaders);

/** Sets the defaults. A page or a service may replace them by its own. */
export const secureHeaders: Step = (_request, response, next) => {
  for (const [name, value] of defaults) response.setHeader(name, value);
  next();
};
