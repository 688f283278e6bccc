// The part of tar-stream that is used here: its package has no types.
declare module 'tar-stream' {
  import type { Readable, Writable } from 'node:stream';

  export interface Entry extends Readable {
    header: { name: string; type: string; size: number };
  }

  /** Gives the entries of an archive in turn. The next one comes when the present one has been read or resumed. */
  export function extract(): Writable & AsyncIterable<Entry>;
}
