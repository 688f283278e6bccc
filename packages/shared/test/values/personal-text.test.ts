import { describe, expect, test } from '@jest/globals';
import { mayHoldAddress } from '../../src/values/personal-text.ts';

describe('a text may hold an address', () => {
  test.each([
    'ada@example.com',
    'ada @ example',
    'ada%40example.com',
    'ada＠example.com',
    'ada﹫example.com',
    '1234567',
    '+14155550123',
    '+1 (415) 555-0123',
    '0171/123 456',
    '415.555.0123',
    '415‑555‑0123',
    '１２３４５６７',
    '١٢٣٤٥٦٧',
    '12\u200b34\u00ad567',
    '2026-06-30 555 01 99',
    '20261129',
    '12026-06-30',
  ])('%j', (text) => expect(mayHoldAddress(text)).toBe(true));
});

describe('a text holds none', () => {
  test.each([
    '',
    'Wrong end date',
    'INC-123456',
    '123456',
    '2026-06-30',
    'from 2026-06-01 to 2026-06-30, 23:59',
    '31.12.2026',
    'versions 1, 2, 3, 4, 5, 6, 7, 8',
    '100 and 200 and 300',
    'at example dot com',
  ])('%j', (text) => expect(mayHoldAddress(text)).toBe(false));
});
