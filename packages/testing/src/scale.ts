// How large the scalable tests of a run are.

/** Set by TEST_SCALE=full: scalable tests then run with the numbers of docs/reliability.md. */
export const fullScale = process.env.TEST_SCALE === 'full';
