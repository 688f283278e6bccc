import { Writable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { coalesceWrites } from '../src/coalesce-writes.ts';

test.each([
  ['the callback that writes', process.nextTick],
  ['all callbacks that were due with it', setImmediate],
])(
  'what is written until the end of %s goes out in one write, in order, and what comes later in the next',
  async (_until, later) => {
    const writes: string[] = [];
    const socket = coalesceWrites(
      new Writable({
        write: (chunk, _encoding, done) => done(void writes.push(String(chunk))),
        writev: (chunks, done) => done(void writes.push(chunks.map(({ chunk }) => String(chunk)).join(''))),
      }),
      later,
    );
    for (const piece of ['a', 'b', 'c']) socket.write(piece);
    expect(writes).toEqual([]);
    await nextTurn();
    await nextTurn();
    socket.cork(); // one within the other
    socket.write('d');
    socket.uncork();
    await nextTurn();
    await nextTurn();
    expect(writes).toEqual(['abc', 'd']);
  },
);
