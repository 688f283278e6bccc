import { Writable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { coalesceWrites } from '../src/coalesce-writes.ts';

test.each([
  ['the callback that writes', process.nextTick],
  ['all callbacks due in the same turn', setImmediate],
])(
  'writes until the end of %s are joined into one, in order, and later writes into the next',
  async (_until, schedule) => {
    const writes: string[] = [];
    const socket = coalesceWrites(
      new Writable({
        write: (chunk, _encoding, done) => done(void writes.push(String(chunk))),
        writev: (chunks, done) => done(void writes.push(chunks.map(({ chunk }) => String(chunk)).join(''))),
      }),
      schedule,
    );
    for (const piece of ['a', 'b', 'c']) socket.write(piece);
    expect(writes).toEqual([]);
    await nextTurn();
    await nextTurn();
    socket.cork(); // a cork inside the cork
    socket.write('d');
    socket.uncork();
    await nextTurn();
    await nextTurn();
    expect(writes).toEqual(['abc', 'd']);
  },
);
