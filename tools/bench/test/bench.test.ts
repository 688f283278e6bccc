// The arithmetic of the bench, on made-up measurements.
import { describe, expect, test } from '@jest/globals';
import { JsonText } from '@promopulse/shared/values/json-text';
import { insertIfAllowed } from '../../../services/subscriptions/src/queries.ts';
import { drawChart } from '../chart.ts';
import { assess, margin, measuredRatios, readBaseline } from '../gate.ts';
import { pgbenchText, statementOf } from '../pgbench.ts';
import { type Row, rowTable, type Section } from '../report.ts';
import { type Case, interleave, isNoisy, type Round, ratio, spread } from '../rounds.ts';
import { createSections } from '../sections.ts';
import { parameterCount, withoutEvent } from '../without-event.ts';

const round = (perSecond: number, cpu: Record<string, number> = {}): Round => {
  return { perSecond, count: perSecond, p50: 1, p99: 2, cpu, otherProcesses: 0, steal: 0 };
};
const constant = (median: number) => ({ median, min: median, max: median });

describe('rounds', () => {
  test('are interleaved, each after its preparation and after a warm-up by number of requests', async () => {
    const calls: string[] = [];
    const made = (name: string): Case => ({
      name,
      components: () => ({}),
      prepare: async () => void calls.push(`prepare ${name}`),
      run: async (seconds) => {
        calls.push(`${name} ${seconds}`);
        return { count: 6, perSecond: 6 / seconds, p50: 1, p99: 1 };
      },
    });
    const isMeasured = (name: string): boolean => name !== 'left out';
    const plan = { rounds: 2, seconds: 3, warmUp: 10, quick: true, isMeasured, say: () => undefined };
    const results = await interleave([made('a'), made('left out'), made('b')], plan);
    expect(Object.keys(results)).toEqual(['a', 'b']);
    const warmUp = ['a', 'b'].flatMap((name) => [`prepare ${name}`, `${name} 1`, `${name} 1`]);
    const once = ['prepare a', 'a 3', 'prepare b', 'b 3'];
    expect(calls).toEqual([...warmUp, ...once, ...once]);
    expect(results.a?.map(({ perSecond }) => perSecond)).toEqual([2, 2]);
  });

  test('give one ratio each, of which the median counts', () => {
    const ours = [round(10), round(100), round(30)];
    const reference = [round(20), round(100), round(40)];
    expect(ratio(ours, reference)).toEqual({ median: 0.75, min: 0.5, max: 1 });
    expect(spread([4, 1, 2, 3])).toEqual({ median: 2.5, min: 1, max: 4 });
  });

  test('are noisy when other processes or the hypervisor used too much of the machine', () => {
    expect([0.14, 0.16].map((otherProcesses) => isNoisy({ otherProcesses, steal: 0 }))).toEqual([false, true]);
    expect([0.09, 0.11].map((steal) => isNoisy({ otherProcesses: 0, steal }))).toEqual([false, true]);
  });
});

test('a statement becomes a pgbench script in which a colon inside quotes is not a variable', () => {
  const text = "select to_char(now(), 'HH24:MI') || $2::text from t where id = $1";
  const script = pgbenchText({ statement: { text }, values: [':id', "'a'"], set: { id: 'random(1, 9)' } });
  expect(script).toBe(
    "\\set id random(1, 9)\nselect to_char(now(), E'HH24\\x3aMI') || 'a'::text from t where id = :id;\n",
  );
});

test('the insert of a subscription loses its event and the parameters of the event, and nothing else', async () => {
  const event = { eventId: '', requestId: '' };
  const whole = await statementOf((database) =>
    insertIfAllowed(database, { user_id: 1, promotion_id: 1, metadata: JsonText.of({}) }, 5, event),
  );
  const shorter = withoutEvent(whole);
  expect([parameterCount(whole), parameterCount(shorter)]).toEqual([8, 4]);
  expect(whole.text).toContain('insert into outbox');
  expect(shorter.text).toMatch(/^with \w+ as \([\s\S]*\)\s*select [\s\S]+ from \w+$/);
  expect(shorter.text).not.toContain('outbox');
  expect(() => withoutEvent({ text: 'select 1' })).toThrow('inserts into the outbox');
});

describe('the gate', () => {
  test('measures a regressed section once more, and the cheapest of all rounds counts', async () => {
    const ours = [900, 300];
    const reference = [100, 400];
    const sections = createSections({ say: () => undefined, isStopping: () => false });
    await sections.add('get', async () => {
      const cases = {
        'get direct': [round(1, { promotions: ours.shift() ?? 0 })],
        'get Express': [round(1, { peer: reference.shift() ?? 0 })],
      };
      return { name: 'get', rows: [], cases, skipped: [] };
    });
    const what = 'GET /promotions/{id}: service / Express + pg';
    expect(measuredRatios(sections.list())[what]).toBe(9);
    await sections.repeatRegressed({ [what]: 1 });
    expect(measuredRatios(sections.list())[what]).toBe(3);
  });

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

  test('compares the cheapest round of each side with the baseline times the margin', () => {
    expect(measuredRatios([section(200)])).toEqual({ [what]: 2 });
    const resultOf = (measured: number): string | undefined =>
      assess([section(measured * 100)], { [what]: 2 }).find((assessment) => assessment.what === what)?.result;
    expect(resultOf(2 * margin)).toBe('ok');
    expect(resultOf(2 * margin + 0.1)).toBe('REGRESSED');
  });

  test('distinguishes what was not selected from what could not be measured', () => {
    const baselines = { 'GET: gateway / undici': 2 };
    const [first] = assess([], baselines);
    expect(first).toMatchObject({ section: 'gateway', measured: undefined, result: 'not selected' });
    const [withoutNginx] = assess([{ name: 'gateway', rows: [], cases: {}, skipped: ['no nginx'] }], baselines);
    expect(withoutNginx).toMatchObject({ measured: undefined, result: 'NOT MEASURED' });
  });

  test('has a baseline for each ratio, the writes and reads of users and promotions included', () => {
    const baselines = readBaseline();
    expect(Object.keys(baselines).toSorted()).toEqual(
      assess([], baselines)
        .map((assessment) => assessment.what)
        .toSorted(),
    );
    expect(Object.keys(baselines)).toEqual(
      expect.arrayContaining(
        ['POST /users', 'POST /promotions', 'GET /users/{id}', 'GET /users?email='].map(
          (title) => `${title}: service / Express + pg`,
        ),
      ),
    );
  });
});

test('the table names what each row measures, and lists the rows by measure', () => {
  const section = (...rows: Row[]): Section => ({ name: '', rows, cases: {}, skipped: [] });
  const started: Row = { measure: 'start', what: 'a', value: constant(0.5), unit: 's', goal: { atMost: 1 } };
  const cpu: Row = { measure: 'service CPU', what: 'b', value: constant(0.9), unit: 'ms', goal: { atMost: 0.8 } };
  expect(rowTable([section(started), section(cpu)]).slice(1)).toEqual([
    ['service CPU', 'b', '0.90 ms', '0.90 ms', '0.90 ms', '≤ 0.80 ms', 'missed', ''],
    ['start', 'a', '0.50 s', '0.50 s', '0.50 s', '≤ 1.00 s', 'met', ''],
  ]);
});

test('the chart draws a row that misses its goal to the left of the line, also where a lower value is better', () => {
  const rows: Row[] = [
    { measure: 'proxying', what: 'half the goal', value: constant(0.2), goal: { atLeast: 0.4 } },
    { measure: 'propagation', what: 'twice the goal', value: constant(30), unit: 'ms', goal: { atMost: 15 } },
    { measure: 'start', what: 'half the time', value: constant(0.5), unit: 's', goal: { atMost: 1 } },
  ];
  const bars = [...drawChart(rows, 'a < b').matchAll(/<rect x="([\d.]+)" y="\d+" width="([\d.]+)"/g)];
  const [goal] = /x1="([\d.]+)"[^>]*stroke="#1f2937"/.exec(drawChart(rows, ''))?.slice(1).map(Number) ?? [];
  const ends = bars.map(([, x, width]) => [Number(x), Number(x) + Number(width)].map((at) => at - (goal ?? 0)));
  expect(ends.map(([left, right]) => [Math.sign(Math.round(left ?? 0)), Math.sign(Math.round(right ?? 0))])).toEqual([
    [-1, 0],
    [-1, 0],
    [0, 1],
  ]);
  expect(drawChart(rows, 'a < b')).toContain('a &lt; b');
});
