// The spans of all processes, in a file: a run of half an hour has too many for the memory.
import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startOtlpReceiver } from '@promopulse/testing/otlp-receiver';
import type { Keep } from '../../local/servers.ts';

interface ReceivedSpans {
  /** What a process needs to send its spans here. */
  environment: Record<string, string>;
  file: string;
}

export async function receiveSpans(folder: string, keep: Keep): Promise<ReceivedSpans> {
  const file = join(folder, 'spans.txt');
  writeFileSync(file, '', { mode: 0o600 });
  const receiver = await startOtlpReceiver(0, (text) => appendFileSync(file, text));
  keep(() => receiver.close());
  return { environment: { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, OTEL_BSP_SCHEDULE_DELAY: '500' }, file };
}
