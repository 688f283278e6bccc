// Where the time of a process went: the profiles that Node writes with --cpu-prof, summed up by function and by file.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface CpuProfile {
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[];
  samples: number[];
  timeDeltas: number[];
}

/** Arguments of Node that make a process leave its profile in a folder when it ends. */
export function profiling(folder: string, part: string): string[] {
  return [
    '--cpu-prof',
    `--cpu-prof-dir=${folder}`,
    `--cpu-prof-name=${part}.cpuprofile`,
    `services/${part}/src/main.ts`,
  ];
}

/** Lines for people: of every profile in the folder, the shares of the time in which the process was not idle. */
export function describeProfiles(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.cpuprofile'))
    .toSorted()
    .flatMap((name) => {
      const profile = JSON.parse(readFileSync(join(folder, name), 'utf8')) as CpuProfile;
      return [
        `\n${name}: share of busy time by module`,
        ...top(profile, ({ url }) => moduleOf(url), 12),
        `${name}: share of busy time by function, itself only`,
        ...top(
          profile,
          ({ functionName, url, lineNumber }) => `${functionName || '(anonymous)'} ${placeOf(url, lineNumber)}`,
          16,
        ),
      ];
    });
}

function top(
  { nodes, samples, timeDeltas }: CpuProfile,
  key: (frame: CpuProfile['nodes'][number]['callFrame']) => string,
  count: number,
): string[] {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const times = new Map<string, number>();
  let busy = 0;
  for (const [index, id] of samples.entries()) {
    const frame = frames.get(id);
    const time = timeDeltas[index] ?? 0;
    if (!frame || frame.functionName === '(idle)' || time < 0) continue;
    busy += time;
    times.set(key(frame), (times.get(key(frame)) ?? 0) + time);
  }
  return [...times]
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, count)
    .map(([name, time]) => `  ${((time / busy) * 100).toFixed(1).padStart(5)} %  ${name}`);
}

function moduleOf(url: string): string {
  if (url === '') return '(native)';
  if (url.startsWith('node:')) return url;
  const installed = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url.slice(url.lastIndexOf('node_modules/')));
  return installed?.[1] ?? (/(?:packages|services)\/.*$/.exec(url)?.[0] || url);
}

function placeOf(url: string, line: number): string {
  const short = url.replace(/^.*\/node_modules\//, '').replace(/^file:.*?\/(packages|services)\//, '$1/');
  return short === '' ? '' : `(${short}:${line + 1})`;
}
