// What a process holds, once everything that it could let go of is gone: asked by way of Node's inspector
// (https://chromedevtools.github.io/devtools-protocol/v8/), so that nothing of it is in the services.
import { setTimeout } from 'node:timers/promises';

export interface LiveHeap {
  /** Collects all garbage. @returns MB in use afterwards, by JavaScript and by its buffers */
  measure(): Promise<number>;
  close(): void;
}

const answersWithinMs = 10_000;

/** Of a process that was started with `--inspect` on this port. */
export async function openLiveHeap(port: number): Promise<LiveHeap> {
  const answer = await fetch(`http://127.0.0.1:${port}/json/list`, { signal: AbortSignal.timeout(answersWithinMs) });
  const [target] = (await answer.json()) as { webSocketDebuggerUrl: string }[];
  if (!target) throw new Error(`nothing to inspect on port ${port}`);
  const socket = new WebSocket(target.webSocketDebuggerUrl);
  await heard(socket, 'open');
  let lastId = 0;

  async function ask<Result>(method: string, params: object = {}): Promise<Result> {
    lastId += 1;
    const id = lastId;
    const reply = heard(socket, 'message');
    socket.send(JSON.stringify({ id, method, params }));
    const { id: of, result, error } = JSON.parse(String((await reply).data));
    if (of !== id || error) throw new Error(`${method}: ${error?.message ?? 'something else was answered'}`);
    return result;
  }

  return {
    measure: async () => {
      await ask('HeapProfiler.collectGarbage');
      const expression = '(({ heapUsed, external }) => heapUsed + external)(process.memoryUsage())';
      const { result } = await ask<{ result: { value: number } }>('Runtime.evaluate', { expression });
      return result.value / 2 ** 20;
    },
    close: () => socket.close(),
  };
}

async function heard(socket: WebSocket, event: 'open' | 'message'): Promise<MessageEvent> {
  const over = new AbortController();
  try {
    return await new Promise((resolve, reject) => {
      const { signal } = over;
      socket.addEventListener(event, (message) => resolve(message as MessageEvent), { signal });
      socket.addEventListener('close', () => reject(new Error('the inspector hung up')), { signal });
      setTimeout(answersWithinMs, undefined, { signal, ref: false }).then(
        () => reject(new Error('the inspector does not answer')),
        () => undefined,
      );
    });
  } finally {
    over.abort();
  }
}
