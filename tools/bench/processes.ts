// CPU time and memory as Linux counts them for itself (proc(5)): of a process, all that it has started, and the machine.
import { readdirSync, readFileSync } from 'node:fs';

/** Microseconds of a clock tick: USER_HZ is 100 on every architecture that Node runs on. */
const tick = 10_000;

interface Entry {
  pid: number;
  parent: number;
  /** Microseconds of its own, and of the children it has waited for. */
  cpu: number;
}

/** @returns undefined when there is no such process any more */
function entryOf(pid: number): Entry | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the name in parentheses and may hold anything: the third begins after the last one.
    const fields = text
      .slice(text.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number);
    const [parent = 0, utime = 0, stime = 0, cutime = 0, cstime = 0] = [1, 11, 12, 13, 14].map((at) => fields[at]);
    return { pid, parent, cpu: (utime + stime + cutime + cstime) * tick };
  } catch {
    return undefined;
  }
}

/** Microseconds of CPU, so far, of each of these processes with everything below it. */
export function cpuOfTrees(roots: readonly number[]): number[] {
  const entries = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => entryOf(Number(name)) ?? []);
  const children = Map.groupBy(entries, ({ parent }) => parent);
  const below = (pid: number): number =>
    (children.get(pid) ?? []).reduce((sum, child) => sum + child.cpu + below(child.pid), 0);
  return roots.map((root) => (entries.find(({ pid }) => pid === root)?.cpu ?? 0) + below(root));
}

export interface Machine {
  /** Microseconds, of all cores together, that were worked, taken by the hypervisor, and there at all. */
  busy: number;
  stolen: number;
  total: number;
}

export function machine(): Machine {
  const line = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0] ?? '';
  const ticks = line.split(/\s+/).slice(1, 9).map(Number);
  const [user = 0, nice = 0, system = 0, idle = 0, waiting = 0, interrupts = 0, soft = 0, stolen = 0] = ticks;
  const busy = user + nice + system + interrupts + soft;
  return { busy: busy * tick, stolen: stolen * tick, total: (busy + idle + waiting + stolen) * tick };
}

/** Resident memory in MB (10^6 bytes); 0 when the process is gone. */
export function residentMemory(pid: number): number {
  try {
    const kilobytes = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return (Number(kilobytes ?? 0) * 1_024) / 1_000_000;
  } catch {
    return 0;
  }
}
