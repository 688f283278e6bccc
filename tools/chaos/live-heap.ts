// The live heap of a process: what is in use after a garbage collection. It is measured by Node's inspector, so the
// services need no code for it.
import { openInspector } from './inspector.ts';

export interface LiveHeap {
  /** Collects all garbage. @returns the memory then in use by JavaScript objects and buffers, in MiB */
  measure(): Promise<number>;
  close(): void;
}

/** @param port the inspector's port: the process was started with `--inspect` */
export async function openLiveHeap(port: number): Promise<LiveHeap> {
  const { call, close } = await openInspector(port);
  return {
    measure: async () => {
      await call('HeapProfiler.collectGarbage');
      const expression = '(({ heapUsed, external }) => heapUsed + external)(process.memoryUsage())';
      const { result } = await call<{ result: { value: number } }>('Runtime.evaluate', { expression });
      return result.value / 2 ** 20;
    },
    close,
  };
}
