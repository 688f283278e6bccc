// A map that forgets what was not used lately, so that its size is bounded whatever the number of keys.

/**
 * Two generations of entries. A use puts an entry into the young one. When that has half of `maxSize` entries, it becomes
 * the old one, and what the old one still had is forgotten. So an entry stays for at least the next `maxSize / 2` uses of
 * other keys. A use costs no more than a look-up.
 */
export class RecentMap<Key, Value> {
  readonly #maxYoung: number;
  #young = new Map<Key, Value>();
  #old = new Map<Key, Value>();

  /** @param maxSize an even number of entries */
  constructor(maxSize: number) {
    this.#maxYoung = maxSize / 2;
  }

  /** Counts the entries, at most `maxSize`. */
  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get(key: Key): Value | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) {
      this.#old.delete(key);
      this.set(key, old);
    }
    return old;
  }

  /** @param compute called when the key is not there */
  getOrInsertComputed(key: Key, compute: () => Value): Value {
    const found = this.get(key);
    if (found !== undefined) return found;
    const value = compute();
    this.set(key, value);
    return value;
  }

  delete(key: Key): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }

  set(key: Key, value: Value): void {
    if (this.#young.size >= this.#maxYoung) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#old.delete(key);
    this.#young.set(key, value);
  }
}
