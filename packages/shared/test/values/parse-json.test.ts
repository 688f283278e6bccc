// What a body may not hold, although JSON.parse accepts it, and that JSON is kept as it was written.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { rowsWithinPage } from '../../src/http/pagination.ts';
import { JsonText, stringifyJson } from '../../src/values/json-text.ts';
import { parseJson } from '../../src/values/parse-json.ts';

const repeated = 'must be given once';
const rounded = 'must be a number that a double keeps with all its digits (it keeps any 15, up to 1.79e308)';
const pathsOf = (text: string, rule: string) =>
  parseJson(text)
    .faults.filter((fault) => fault.rule === rule)
    .map(({ path }) => path.join('.'));

describe('a name that an object has twice is reported', () => {
  test.each([
    ['at the top', '{"a":1,"a":2}', ['a']],
    ['with the same value', '{"a":1,"a":1}', ['a']],
    ['below', '{"a":{"b":[0,{"c":1,"d":2,"c":3}]}}', ['a.b.1.c']],
    ['in an array at the top', '[{"a":1},{"a":1,"a":1}]', ['1.a']],
    ['after an object with that name', '{"a":{"b":1},"c":2,"a":3}', ['a']],
    ['with an escape', '{"a":1,"\\u0061":2}', ['a']],
    ['with two escapes', '{"\\u00e9":1,"\\u00E9":2}', ['é']],
    ['with an escaped solidus', '{"a/b":1,"a\\/b":2}', ['a/b']],
    ['as half a surrogate pair', '{"\\ud800":1,"\\uD800":2}', ['\ud800']],
    ['as __proto__', '{"__proto__":1,"__proto__":2}', ['__proto__']],
    ['as __proto__, escaped', '{"__proto__":1,"__pr\\u006fto__":2}', ['__proto__']],
    ['as constructor', '{"constructor":1,"constructor":2}', ['constructor']],
    ['as an empty name', '{"":1,"":2}', ['']],
    ['three times', '{"a":1,"a":2,"a":3}', ['a', 'a']],
    ['between white space', '{ "a" : 1 ,\n\t"a"\r: 2 }', ['a']],
  ])('%s', (_where, text, paths) => {
    expect(pathsOf(text, repeated)).toEqual(paths);
  });

  test('and not one that several objects have, one that differs in Unicode form, or a text', () => {
    for (const text of [
      '{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}',
      '{"\u00e9":1,"e\u0301":2}',
      '{"a":"a","b":"a"}',
      '["a","a","\\"a\\":1,\\"a\\":2"]',
      '{"a\\"":1,"a":2,"a\\\\":3}',
    ]) {
      expect(parseJson(text).faults).toEqual([]);
    }
  });

  test('in every object of any JSON, wherever it is put', () => {
    const name = fc.string({ unit: 'binary', maxLength: 4 });
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 3 }), fc.array(name, { maxLength: 5 }), name, (inside, path, twice) => {
        const object = `{${JSON.stringify(twice)}:${JSON.stringify(inside)},${JSON.stringify(twice)}:0}`;
        const text = path.reduceRight((inner, each) => `{"":[],${JSON.stringify(`${each}.`)}: ${inner} }`, object);
        expect(parseJson(text).faults).toEqual([{ path: [...path.map((each) => `${each}.`), twice], rule: repeated }]);
      }),
    );
  });
});

describe('a number is reported when a double', () => {
  test.each([
    '123456789012345.678901',
    '0.1234567890123456789',
    '9007199254740993',
    '-9007199254740993',
    '9007199254740993.0',
    '90071992547409930e-1',
    '1234567890123456789',
    '0.10000000000000000001',
    '123456789012345678e-3',
    '1152921504606847100',
    '-1152921504606846977',
    '1152921504606846.9761e3',
    '1.0000000000000000001',
    '1e400',
    '-1E+400',
    '1e-400',
    '0.0000000000000000000000000000000000000000000000001e-350',
    `1${'0'.repeat(309)}`,
    `0.${'123456789'.repeat(20)}`,
  ])('cannot keep its digits or its size: %s', (number) => {
    expect(pathsOf(`{"a":{"b":[0,${number}]}}`, rounded)).toEqual(['a.b.1']);
    expect(pathsOf(number, rounded)).toEqual(['']);
  });

  test.each([
    ...[
      '0',
      '-0',
      '0.0',
      '-0.0e5',
      '1.0',
      '1.50',
      '1E2',
      '1e16',
      '1e+16',
      '1e300',
      '0.1',
      '0.10000000000000001',
      '225285041511858.62',
    ],
    ...['9007199254740991', '9007199254740992', '9007199254740994.000', '18446744073709551616', '5e-324', '4.9E-324'],
    // As programs write integers of doubles: with the shortest digits, or with all.
    ...[
      '1152921504606847000',
      '1152921504606846976',
      '1152921504606847e3',
      '-1234567890123456800',
      '1000000000000000128',
    ],
    ...[`1${'0'.repeat(300)}`, String(2n ** 1_000n), '123456789012345680000.0'],
    ...['1.7976931348623157e308', '0.30000000000000004', '2.2250738585072014E-308', '0e999999'],
  ])('and not when it keeps them: %s', (number) => {
    expect(parseJson(`{"a":[${number}]}`).faults).toEqual([]);
  });

  test('and never a double as a program writes it, in any of its digits', () => {
    const doubles = fc.double({ noNaN: true, noDefaultInfinity: true }).filter((double) => Math.abs(double) < 1e308); // with fewer digits it may be beyond doubles
    fc.assert(
      fc.property(doubles, fc.integer({ min: 1, max: 100 }), (double, digits) => {
        const texts = [
          JSON.stringify(double),
          double.toExponential(),
          double.toPrecision(17),
          double.toPrecision(digits),
        ];
        expect(parseJson(`[${texts},${texts.join().toUpperCase()}]`).faults).toEqual([]);
      }),
    );
  });

  test('and always an integer that it neither holds nor is written for', () => {
    const holds = fc.oneof(
      fc.bigInt({ min: -(2n ** 80n), max: 2n ** 80n }).map((integer) => BigInt(Number(integer))),
      fc.bigInt({ min: -(2n ** 69n), max: 2n ** 69n }).map((integer) => BigInt(JSON.stringify(Number(integer)))),
    );
    fc.assert(fc.property(holds, (integer) => expect(parseJson(String(integer)).faults).toEqual([])));
    // An odd integer beyond 2^53 has all its digits, and no double is equal to it.
    const odd = fc.bigInt({ min: 2n ** 53n, max: 2n ** 80n }).map((integer) => integer * 2n + 1n);
    fc.assert(fc.property(odd, (integer) => expect(parseJson(String(-integer)).faults).toHaveLength(1)));
  });
});

test('what is not JSON is a SyntaxError', () => {
  for (const text of ['', ' ', '{', '{"a":1,}', '[1,]', 'NaN', "{'a':1}", '{"a":01}', '\ufeff{}', '"\t"', '// x\n{}']) {
    expect(() => parseJson(text)).toThrow(SyntaxError);
  }
});

test('a body of 64 KiB that is nested as deeply as it can be, or has as many members, is read within a second', () => {
  const deep = `{"a":${'['.repeat(32_000)}1e400${']'.repeat(32_000)}}`;
  const wide = `{${Array.from({ length: 9_000 }, (_, index) => `"${index}":1`).join(',')}}`;
  const escapes = `{"a":"${'\\u0061\\\\'.repeat(8_000)}"}`;
  for (const [text, faults] of [
    [deep, 1],
    [wide, 0],
    [escapes, 0],
  ] as const) {
    const start = performance.now();
    expect(parseJson(text).faults).toHaveLength(faults);
    expect(performance.now() - start).toBeLessThan(1_000);
  }
});

describe('a body of 64 KiB is read in time that grows with its length, although it has', () => {
  const zeros = '0'.repeat(65_000);
  test.each([
    ['a fraction with zeros and a digit', `1.${zeros}1`, 1],
    ['a fraction with zeros, a digit and a power', `1.${zeros}1e5`, 1],
    ['zeros in a whole number with a power', `1${zeros}1e5`, 1],
    ['zeros before a fraction', `-10${zeros}.5`, 1],
    ['zeros after a digit after zeros', `0.${'0'.repeat(32_000)}1${'0'.repeat(32_000)}`, 1],
    ['only zeros', `0.${zeros}`, 0],
    ['a long whole number', '9'.repeat(65_000), 1],
    ['a long fraction', `0.${'9'.repeat(65_000)}`, 1],
    ['a long power', `1e${'9'.repeat(65_000)}`, 1],
    ['a long power of zeros', `1e-${zeros}1`, 0],
    ['many long numbers', `[${Array(640).fill(`0.${'123456789'.repeat(11)}`)}]`, 640],
    ['many whole numbers', `[${Array(210).fill('9'.repeat(308))}]`, 210],
    ['many short ones', `[${Array(13_000).fill('1e99')}]`, 0],
  ])('%s', (_what, text, faults) => {
    const startedAt = performance.now();
    expect(parseJson(text).faults).toHaveLength(faults);
    expect(performance.now() - startedAt).toBeLessThan(3_000);
  });
});

describe('JSON that is kept as it was written', () => {
  const written = '{"10":1,"2":-0,"z":1.50,"a":[1e16,1E2,{"":"\\u0061\\/"}],"__proto__":{"b":null}}';
  const kept = (text: string) => JsonText.of((parseJson(`{ "m" : ${text} }`).value as { m: object }).m).text;

  test('has its numbers, escapes and order, and no white space between its tokens', () => {
    expect(kept(written)).toBe(written);
    expect(kept(' { "a b" : [ 1.0 ,\n\t" x \\" y " ] } ')).toBe('{"a b":[1.0," x \\" y "]}');
  });

  test('is kept for any JSON, with any white space', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 4 })),
        fc.constantFrom(0, 1, '\t'),
        (value, space) => {
          const text = JSON.stringify(value, null, space);
          expect(JSON.parse(kept(text))).toEqual(JSON.parse(text));
          expect(kept(text)).toBe(JSON.stringify(value));
        },
      ),
    );
  });

  test('is answered unchanged among other values, at any depth and any number of times', () => {
    const [one, two] = [new JsonText(written), new JsonText('[1.0]')];
    const document = {
      items: [
        { id: 1, metadata: one },
        { id: 2, metadata: null },
      ],
      last: { two, again: one },
    };
    expect(stringifyJson(document)).toBe(
      `{"items":[{"id":1,"metadata":${written}},{"id":2,"metadata":null}],"last":{"two":[1.0],"again":${written}}}`,
    );
    expect(stringifyJson(one)).toBe(written);
    expect(stringifyJson({ text: 'plain', list: [1.5, null] })).toBe('{"text":"plain","list":[1.5,null]}');
  });

  test('may hold what looks like the text that stands in its place', () => {
    const tricky = new JsonText('{"a":"\\u0000","$&":"$1"}');
    expect(stringifyJson([tricky, 'x', tricky])).toBe('[{"a":"\\u0000","$&":"$1"},"x",{"a":"\\u0000","$&":"$1"}]');
  });

  test('is a value of its own for JSON.stringify', () => {
    expect(JSON.stringify({ a: new JsonText('{"b": 1.0}') })).toBe('{"a":{"b":1}}');
  });

  test('is measured as it is answered when the rows of a page are counted', () => {
    const row = { metadata: new JsonText(`{"a":"${'\\u0061'.repeat(1_300)}"}`) };
    const rows = rowsWithinPage(Array(200).fill(row), () => 10_000);
    const bytes = rows.length * Buffer.byteLength(stringifyJson(row));
    expect([rows.length > 100, bytes <= 1_048_576]).toEqual([true, true]);
  });
});
