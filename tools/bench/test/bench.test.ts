// The bench's own arithmetic: what it says of a run that is made up.
import { describe, expect, test } from '@jest/globals';
import { chartOf } from '../chart.ts';
import { costs, judge, margin } from '../gate.ts';
import { textOf } from '../pgbench.ts';
import type { Row, Section } from '../report.ts';
import { type Case, interleave, isNoisy, type Round, ratio, spread } from '../rounds.ts';

const round = (perSecond: number, cpu: Record<string, number> = {}): Round => {
  return { perSecond, count: perSecond, p50: 1, p99: 2, cpu, foreign: 0, stolen: 0 };
};

describe('rounds', () => {
  test('take turns, each prepared, after a warm-up by number of requests', async () => {
    const seen: string[] = [];
    const made = (name: string): Case => ({
      name,
      components: () => ({}),
      prepare: async () => void seen.push(`prepare ${name}`),
      run: async (seconds) => {
        seen.push(`${name} ${seconds}`);
        return { count: 6, perSecond: 6 / seconds, p50: 1, p99: 1 };
      },
    });
    const plan = { rounds: 2, seconds: 3, warmUp: 10, repeat: false, say: () => undefined };
    const results = await interleave([made('a'), made('b')], plan);
    const warmUp = ['a', 'b'].flatMap((name) => [`prepare ${name}`, `${name} 1`, `${name} 1`]);
    const turn = ['prepare a', 'a 3', 'prepare b', 'b 3'];
    expect(seen).toEqual([...warmUp, ...turn, ...turn]);
    expect(results.a?.map(({ perSecond }) => perSecond)).toEqual([2, 2]);
  });

  test('a ratio is taken within each round, and of those the median', () => {
    const ours = [round(10), round(100), round(30)];
    const theirs = [round(20), round(100), round(40)];
    expect(ratio(ours, theirs)).toEqual({ median: 0.75, min: 0.5, max: 1 });
    expect(spread([4, 1, 2, 3])).toEqual({ median: 2.5, min: 1, max: 4 });
  });

  test('are noisy when others or the hypervisor took a good part of the machine', () => {
    expect([0.14, 0.16].map((foreign) => isNoisy({ foreign, stolen: 0 }))).toEqual([false, true]);
    expect([0.09, 0.11].map((stolen) => isNoisy({ foreign: 0, stolen }))).toEqual([false, true]);
  });
});

test("a statement becomes a pgbench script, whose colons in quotes are none of pgbench's variables", () => {
  const text = "select to_char(now(), 'HH24:MI') || $2::text from t where id = $1";
  const script = textOf({ statement: { text }, values: [':id', "'a'"], set: { id: 'random(1, 9)' } });
  expect(script).toBe(
    "\\set id random(1, 9)\nselect to_char(now(), E'HH24\\x3aMI') || 'a'::text from t where id = :id;\n",
  );
});

describe('the gate', () => {
  const what = 'POST /subscriptions: service / Express + pg';
  const section = (subscriptions: number): Section => ({
    name: 'post',
    rows: [],
    cases: {
      'post direct': [round(1, { subscriptions: 900 }), round(1, { subscriptions })],
      'post Express': [round(1, { peer: 100 }), round(1, { peer: 500 })],
    },
    skipped: [],
  });

  test('holds the cheapest round of each side against the baseline, and is wide', () => {
    expect(costs([section(200)])).toEqual({ [what]: 2 });
    const judged = (cost: number): string | undefined =>
      judge([section(cost * 100)], { [what]: 2 }).find((verdict) => verdict.what === what)?.verdict;
    expect(judged(2 * margin)).toBe('ok');
    expect(judged(2 * margin + 0.1)).toBe('DEARER');
  });

  test('tells what was not asked for from what could not be measured', () => {
    const baseline = { 'GET: gateway / nginx': 5 };
    const [first] = judge([], baseline);
    expect(first).toMatchObject({ section: 'gateway', cost: undefined, verdict: 'not asked for' });
    const [withoutNginx] = judge([{ name: 'gateway', rows: [], cases: {}, skipped: ['no nginx'] }], baseline);
    expect(withoutNginx).toMatchObject({ cost: undefined, verdict: 'NOT MEASURED' });
  });
});

test('the chart draws what misses its goal to the left of the line, whichever way is better', () => {
  const value = (median: number) => ({ median, min: median, max: median });
  const rows: Row[] = [
    { row: 2, what: 'half a goal', value: value(0.2), goal: { atLeast: 0.4 } },
    { row: 5, what: 'twice too late', value: value(30), unit: 'ms', goal: { atMost: 15 } },
    { row: 9, what: 'half the time', value: value(0.5), unit: 's', goal: { atMost: 1 } },
  ];
  const bars = [...chartOf(rows, 'a < b').matchAll(/<rect x="([\d.]+)" y="\d+" width="([\d.]+)"/g)];
  const [goal] = /x1="([\d.]+)"[^>]*stroke="#1f2937"/.exec(chartOf(rows, ''))?.slice(1).map(Number) ?? [];
  const ends = bars.map(([, x, width]) => [Number(x), Number(x) + Number(width)].map((at) => at - (goal ?? 0)));
  expect(ends.map(([left, right]) => [Math.sign(Math.round(left ?? 0)), Math.sign(Math.round(right ?? 0))])).toEqual([
    [-1, 0],
    [-1, 0],
    [0, 1],
  ]);
  expect(chartOf(rows, 'a < b')).toContain('a &lt; b');
});
