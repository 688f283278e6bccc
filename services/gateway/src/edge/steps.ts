// The form of every step that a request meets, and what takes a request through them. The list itself is in app.ts.
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';

/** Either calls `next`, now or later, or answers the request. A step must not throw. */
export type Step = (request: IncomingMessage, response: ServerResponse, next: () => void) => void;

/** @returns a listener that takes each request through the steps in their order */
export function runSteps(steps: readonly Step[]): RequestListener {
  return (request, response) => {
    let position = 0;
    const next = (): void => {
      const step = steps[position];
      position += 1;
      step?.(request, response, next);
    };
    next();
  };
}
