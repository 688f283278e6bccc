// A preload that shifts the clock of a process by CLOCK_SHIFT_MS: `node --import ./test/support/shifted-clock.ts`. The
// clocks of the database and the broker stay as they are.
const shiftMs = Number(process.env.CLOCK_SHIFT_MS);
const SystemDate = Date;

globalThis.Date = class extends SystemDate {
  constructor(...values: []) {
    if (values.length === 0) super(SystemDate.now() + shiftMs);
    else super(...values);
  }

  static override now(): number {
    return SystemDate.now() + shiftMs;
  }
} as DateConstructor;
