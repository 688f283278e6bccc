// Parses the JSON of a request body. `JSON.parse` accepts two things in silence that this module reports: a name that an
// object has twice, of which it keeps the last (RFC 7493 2.3), and a number that it rounds (RFC 7493 2.2).
import { rememberText } from './json-text.ts';

/** A member or an item that breaks a rule. */
export interface JsonFault {
  /** Of a deeper one only the first parts. */
  path: (string | number)[];
  rule: string;
}

export interface ParsedJson {
  value: unknown;
  faults: JsonFault[];
}

const maxPathParts = 20;
const repeatedRule = 'must be given once';
/** Of a number that a double does not keep. */
export const roundedRule = 'must be a number that a double keeps with all its digits (it keeps any 15, up to 1.79e308)';

/** A string, a structural character, or a number or another literal. */
const token = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\]:,]|[^\s"{}[\]:,]+/g;

/** @throws SyntaxError when the text is not JSON */
export function parseJson(text: string): ParsedJson {
  const value: unknown = JSON.parse(text);
  return { value, faults: inspect(value, text.match(token) ?? []) };
}

/** An object or an array that is not closed yet. */
interface Container {
  /** Index of its first token. */
  start: number;
  /** The names so far; undefined in an array. */
  names: Set<string> | undefined;
  /** The name or the index of the current member. */
  key: string | number;
}

/** Reads the tokens of a text that JSON.parse has accepted. It is not recursive: the text may be nested deeply. */
function inspect(value: unknown, tokens: readonly string[]): JsonFault[] {
  const faults: JsonFault[] = [];
  const open: Container[] = [];
  const fault = (rule: string) => faults.push({ path: open.slice(0, maxPathParts).map(({ key }) => key), rule });
  let inner: Container | undefined;
  let isName = false;
  for (let index = 0; index < tokens.length; index += 1) {
    const written = tokens[index] as string;
    switch (written) {
      case '{':
      case '[':
        isName = written === '{';
        inner = { start: index, names: isName ? new Set() : undefined, key: isName ? '' : 0 };
        open.push(inner);
        break;
      case '}':
      case ']':
        open.pop();
        if (open.length === 1) rememberMember(value, open[0]?.key, tokens.slice(inner?.start, index + 1));
        inner = open.at(-1);
        isName = false;
        break;
      case ':':
        break;
      case ',':
        isName = inner?.names !== undefined;
        if (typeof inner?.key === 'number') inner.key += 1;
        break;
      default:
        if (isName && inner?.names) {
          inner.key = nameOf(written);
          if (inner.names.has(inner.key)) fault(repeatedRule);
          inner.names.add(inner.key);
          isName = false;
        } else if (isRounded(written)) fault(roundedRule);
    }
  }
  return faults;
}

function nameOf(written: string): string {
  return written.includes('\\') ? JSON.parse(written) : written.slice(1, -1);
}

/** Keeps the text of an object or an array in the body, without the white space between its tokens. */
function rememberMember(body: unknown, key: string | number | undefined, tokens: readonly string[]): void {
  const member = (body as Record<string, unknown>)[key as string];
  if (typeof member === 'object' && member !== null) rememberText(member, tokens.join(''));
}

/** The most digits that `toPrecision` writes. */
const maxDigits = 100;
const numberStart = /^[-\d]/;
const integer = /^-?\d+$/;
/** A double keeps every decimal number of 15 digits. */
const shortNumber = /^-?[\d.]{1,15}$/;

/**
 * Whether a token is a number that a double does not keep. It keeps an integer that it is equal to, and a number that a
 * program writes for the double with as many digits, or with as few as tell it from all other doubles.
 */
function isRounded(written: string): boolean {
  if (!numberStart.test(written) || shortNumber.test(written)) return false;
  const double = Number(written);
  if (!Number.isFinite(double)) return true;
  if (integer.test(written) && BigInt(double) === BigInt(written)) return false;
  const { digits, power } = decimalOf(written);
  if (digits === '') return false;
  if (digits.length > maxDigits) return true;
  // Between two numbers that are equally near, `toPrecision` takes the larger one, and `String` the even one.
  return ![double.toPrecision(digits.length), String(double)].some((text) => {
    const kept = decimalOf(text);
    return kept.digits === digits && kept.power === power;
  });
}

/** The digits of a decimal number without zeros at either end, and the power of ten by which they are multiplied. */
function decimalOf(written: string): { digits: string; power: number } {
  const [, whole = '', fraction = '', exponent = '0'] = /^-?(\d+)(?:\.(\d+))?(?:e(.+))?$/i.exec(written) ?? [];
  const all = `${whole}${fraction}`;
  // Not by /0+$/, which starts again at each zero within the number.
  let end = all.length;
  while (end > 0 && all[end - 1] === '0') end -= 1;
  let start = 0;
  while (start < end && all[start] === '0') start += 1;
  return { digits: all.slice(start, end), power: Number(exponent) - fraction.length + all.length - end };
}
