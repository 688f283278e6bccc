// JSON that is stored and answered as it was written, with the spelling of its numbers and the order of its members.
// JSON.parse and JSON.stringify together would change both: 1.50 to 1.5, and {"10":1,"2":2} to {"2":2,"10":1}.

/** The text from which an object of a body was parsed. */
const texts = new WeakMap<object, string>();

export function rememberText(object: object, text: string): void {
  texts.set(object, text);
}

/** What stands in the place of a JsonText in JSON that is being written. No text from a caller has a NUL character. */
const marker = '\0';
const writtenMarker = JSON.stringify(marker);

/** The texts for the markers of the JSON that is being written; undefined when none is. */
let pending: string[] | undefined;

/** The text of a JSON value. JSON.stringify parses it and writes it in its own way; stringifyJson writes it unchanged. */
export class JsonText {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  /** @param object an object that is a member of a body, as `parseJson` has parsed it, or any other object */
  static of(object: object): JsonText {
    return new JsonText(texts.get(object) ?? JSON.stringify(object));
  }

  toJSON(): unknown {
    if (!pending) return JSON.parse(this.text);
    pending.push(this.text);
    return marker;
  }
}

/** JSON.stringify, with the text of each JsonText unchanged. */
export function stringifyJson(value: unknown): string {
  const written: string[] = [];
  pending = written;
  try {
    const json = JSON.stringify(value);
    if (written.length === 0) return json;
    const [head = '', ...tails] = json.split(writtenMarker);
    return tails.reduce((text, tail, index) => text + written[index] + tail, head);
  } finally {
    pending = undefined;
  }
}
