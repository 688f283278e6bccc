// The live heap of a process: what is in use after a garbage collection. It is measured over the protocol of Node's
// inspector (https://chromedevtools.github.io/devtools-protocol/v8/), so the services need no code for it.
import { setTimeout } from 'node:timers/promises';

export interface LiveHeap {
  /** Collects all garbage. @returns the memory then in use by JavaScript objects and buffers, in MiB */
  measure(): Promise<number>;
  close(): void;
}

const responseTimeoutMs = 10_000;

/** @param port the inspector's port: the process was started with `--inspect` */
export async function openLiveHeap(port: number): Promise<LiveHeap> {
  const response = await fetch(`http://127.0.0.1:${port}/json/list`, {
    signal: AbortSignal.timeout(responseTimeoutMs),
  });
  const [target] = (await response.json()) as { webSocketDebuggerUrl: string }[];
  if (!target) throw new Error(`port ${port} has no inspector target`);
  const socket = new WebSocket(target.webSocketDebuggerUrl);
  await nextEvent(socket, 'open');
  let lastId = 0;

  async function call<Result>(method: string, params: object = {}): Promise<Result> {
    lastId += 1;
    const id = lastId;
    const reply = nextEvent(socket, 'message');
    socket.send(JSON.stringify({ id, method, params }));
    const { id: replyId, result, error } = JSON.parse(String((await reply).data));
    if (replyId !== id || error) throw new Error(`${method}: ${error?.message ?? `reply to ${replyId}, not ${id}`}`);
    return result;
  }

  return {
    measure: async () => {
      await call('HeapProfiler.collectGarbage');
      const expression = '(({ heapUsed, external }) => heapUsed + external)(process.memoryUsage())';
      const { result } = await call<{ result: { value: number } }>('Runtime.evaluate', { expression });
      return result.value / 2 ** 20;
    },
    close: () => socket.close(),
  };
}

/** @throws Error when the socket closes first, or nothing arrives within 10 s */
async function nextEvent(socket: WebSocket, event: 'open' | 'message'): Promise<MessageEvent> {
  const settled = new AbortController();
  try {
    return await new Promise((resolve, reject) => {
      const { signal } = settled;
      socket.addEventListener(event, (message) => resolve(message as MessageEvent), { signal });
      socket.addEventListener('close', () => reject(new Error('the inspector closed the connection')), { signal });
      setTimeout(responseTimeoutMs, undefined, { signal, ref: false }).then(
        () => reject(new Error('the inspector does not answer')),
        () => undefined,
      );
    });
  } finally {
    settled.abort();
  }
}
