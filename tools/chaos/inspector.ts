// The protocol of Node's inspector (https://chromedevtools.github.io/devtools-protocol/v8/), one call at a time.
import { setTimeout } from 'node:timers/promises';

export interface Inspector {
  /** @throws Error with the answer's message */
  call<Result>(method: string, params?: object): Promise<Result>;
  close(): void;
}

const responseTimeoutMs = 10_000;

/** @param port the inspector's port: the process was started with `--inspect` */
export async function openInspector(port: number): Promise<Inspector> {
  const response = await fetch(`http://127.0.0.1:${port}/json/list`, {
    signal: AbortSignal.timeout(responseTimeoutMs),
  });
  const [target] = (await response.json()) as { webSocketDebuggerUrl: string }[];
  if (!target) throw new Error(`port ${port} has no inspector target`);
  const socket = new WebSocket(target.webSocketDebuggerUrl);
  await nextEvent(socket, 'open');
  let lastId = 0;
  return {
    call: async (method, params = {}) => {
      lastId += 1;
      const id = lastId;
      const reply = nextEvent(socket, 'message');
      socket.send(JSON.stringify({ id, method, params }));
      const { id: replyId, result, error } = JSON.parse(String((await reply).data));
      if (replyId !== id || error) throw new Error(`${method}: ${error?.message ?? `reply to ${replyId}, not ${id}`}`);
      return result;
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
