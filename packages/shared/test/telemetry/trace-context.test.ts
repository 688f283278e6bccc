// How the W3C trace context is read and written.
import { describe, expect, test } from '@jest/globals';
import {
  formatTraceparent,
  parseTraceparent,
  takeTraceContext,
  writeTraceContext,
} from '../../src/telemetry/trace-context.ts';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const spanId = '00f067aa0ba902b7';
const valid = `00-${traceId}-${spanId}-01`;

describe('traceparent', () => {
  test('has a trace id, a span id and flags', () => {
    expect(parseTraceparent(valid)).toEqual({ traceId, spanId, traceFlags: 1, isRemote: true });
    expect(formatTraceparent(parseTraceparent(valid))).toBe(valid);
  });

  test('may be of a later version, with more at its end', () => {
    expect(parseTraceparent(`01-${traceId}-${spanId}-00-more`)).toMatchObject({ traceId, traceFlags: 0 });
  });

  test.each([
    undefined,
    '',
    `${valid}-more`,
    `${valid} `,
    ` ${valid}`,
    `${valid}, ${valid}`,
    valid.toUpperCase(),
    `ff-${traceId}-${spanId}-01`,
    `0-${traceId}-${spanId}-01`,
    `00-${'0'.repeat(32)}-${spanId}-01`,
    `00-${traceId}-${'0'.repeat(16)}-01`,
    `00-${traceId}-${spanId}`,
    `00-${traceId}-${spanId}-1`,
    `00-${traceId.slice(1)}-${spanId}-01`,
    `00-${traceId}-${spanId}-0g`,
    `01-${traceId}-${spanId}-01more`,
    [valid],
    'ada@example.com',
  ])('%j is none', (value) => {
    expect(parseTraceparent(value)).toBeUndefined();
  });

  test('is not written without a trace', () => {
    expect(formatTraceparent(undefined)).toBeUndefined();
    expect(formatTraceparent({ traceId: '0'.repeat(32), spanId, traceFlags: 0 })).toBeUndefined();
  });
});

describe('the headers', () => {
  test('lose the whole context when it is read, and get one back when it is written', () => {
    const headers: Record<string, string> = {
      traceparent: valid,
      tracestate: 'vendor=1',
      baggage: 'a=b',
      accept: '*/*',
    };
    const context = takeTraceContext(headers);
    expect(headers).toEqual({ accept: '*/*' });
    writeTraceContext(headers, context);
    expect(headers).toEqual({ accept: '*/*', traceparent: valid, tracestate: 'vendor=1' });
  });

  test('lose a tracestate whose traceparent is malformed', () => {
    const headers: Record<string, string> = { traceparent: 'x', tracestate: 'vendor=1' };
    expect(takeTraceContext(headers)).toBeUndefined();
    writeTraceContext(headers, undefined);
    expect(headers).toEqual({});
  });
});
