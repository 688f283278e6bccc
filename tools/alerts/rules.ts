// The alert rules of deploy/observe, in shorter time: a run cannot wait five minutes for each.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export const observeFolder = join(import.meta.dirname, '../../deploy/observe');

/** How much shorter a run's durations are: a minute becomes ten seconds. */
const divisor = 6;
/** No duration is longer in a run, in seconds. */
const maxSeconds = 45;

const secondsOf: Record<string, number> = { s: 1, m: 60, h: 3_600 };

export function readRules(): string {
  return readFileSync(join(observeFolder, 'alerts.yml'), 'utf8');
}

/** Shortens each `for:`, and each range such as `[5m]`. Thresholds stay as they are. */
export function shortenDurations(rules: string): string {
  return rules.replace(
    /(\bfor: |\[)(\d+)([smh])\b/g,
    (_, before: string, amount: string, unit: string) =>
      `${before}${Math.min(maxSeconds, Math.ceil((Number(amount) * (secondsOf[unit] ?? 1)) / divisor))}s`,
  );
}
