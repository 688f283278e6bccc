// The command line of `npm run bench`. The header of run.ts describes the options.
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { endpointNames } from './endpoints.ts';
import { gatedCases, gatedSections } from './gate.ts';

const partNames = [
  'gateway',
  'callers',
  ...endpointNames,
  'propagation',
  'outbox',
  'cost',
  'metrics',
  'growth',
  'events',
  'start',
] as const;
type PartName = (typeof partNames)[number];

export interface Options {
  /** Whether a part of the bench is to be measured: all are, unless --only names some, or --gate compares some. */
  isSelected(name: PartName): boolean;
  /** Whether a case of a selected part is to be measured. */
  isMeasured(caseName: string): boolean;
  rounds: number;
  /** Length of a round in seconds. */
  seconds: number;
  quick: boolean;
  jsonFile: string;
  /** Folder for CPU profiles. */
  profile: string | undefined;
  write: boolean;
  gate: boolean;
  baseline: boolean;
}

/** @throws when an option is unknown or its value is not valid */
export function readOptions(root: string): Options {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', multiple: true },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      quick: { type: 'boolean', default: false },
      json: { type: 'string' },
      profile: { type: 'string' },
      write: { type: 'boolean', default: false },
      gate: { type: 'boolean', default: false },
      baseline: { type: 'boolean', default: false },
    },
  });
  const { only, json, profile, quick, write, gate, baseline } = values;
  if (only?.some((given) => !partNames.some((name) => name === given))) {
    throw new Error(`--only takes ${partNames.join(', ')}`);
  }
  return {
    isSelected: (name) => only?.includes(name) ?? (!gate || gatedSections.has(name)),
    isMeasured: (caseName) => !gate || gatedCases.has(caseName),
    rounds: wholeNumber('--rounds', values.rounds ?? (quick ? '2' : '5')),
    seconds: wholeNumber('--seconds', values.seconds ?? (quick ? '1' : '5')),
    ...{ quick, write, gate, baseline },
    jsonFile: resolve(json ?? join(root, '.data', 'bench.json')),
    profile: profile && resolve(profile),
  };
}

function wholeNumber(option: string, text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1) throw new Error(`${option} takes a whole number of at least 1`);
  return number;
}
