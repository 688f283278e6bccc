// Unicode's full case folding: the mappings C and F of CaseFolding.txt (https://www.unicode.org/Public/UCD/latest/ucd/),
// not those for Turkish (T). A test compares it with that file over all code points.

const ascii = /^\p{ASCII}*$/u;
/** All but the dotless i, which has no other case in C and F: its capital I is that of i. */
const withoutDotlessI = /[^ı]+/gu;
/** In this script the capital letters are the folded ones. */
const cherokee = /\p{Script=Cherokee}+/gu;

export function isAscii(text: string): boolean {
  return ascii.test(text);
}

/** Texts that differ only in letter case are equal afterwards. Folding what is folded changes nothing. */
export function foldCase(text: string): string {
  if (isAscii(text)) return text.toLowerCase();
  return text
    .replace(withoutDotlessI, (part) => part.toLowerCase().toUpperCase().toLowerCase())
    .replaceAll('ς', 'σ')
    .replace(cherokee, (part) => part.toUpperCase());
}
