// Reads the examples that people copy: requests.http and the curl commands of the README. A test runs them as they are
// and compares the answers with the expected ones that are printed with them.
import { readFileSync } from 'node:fs';

export interface Step {
  title: string;
  name: string | undefined;
  method: string;
  url: string;
  headers: Record<string, string>;
  body: string | undefined;
  expect: { status: number; body: object };
}

export function readExample(file: string): string {
  return readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
}

/** The requests of a .http file, in order. `fillIn` replaces their variables. */
export function readHttpFile(file: string): Step[] {
  return readExample(file)
    .split(/^### /m)
    .slice(1)
    .map((block) => {
      const [title = '', ...lines] = block.split('\n');
      const comments = lines.filter((line) => line.startsWith('# '));
      const request = lines
        .filter((line) => !line.startsWith('#'))
        .join('\n')
        .trim();
      const [head = '', body] = request.split('\n\n');
      const [start = '', ...headerLines] = head.split('\n');
      const [method = '', url = ''] = start.split(' ');
      const expected = /^# expect (\d+) (.*)$/m.exec(comments.join('\n'));
      if (!expected) throw new Error(`"${title}" in ${file} has no line "# expect <status> <JSON>"`);
      return {
        title,
        name: /^# @name (\w+)$/m.exec(comments.join('\n'))?.[1],
        method,
        url,
        headers: Object.fromEntries(headerLines.map((line) => line.toLowerCase().split(': ') as [string, string])),
        body,
        expect: { status: Number(expected[1]), body: JSON.parse(String(expected[2])) },
      };
    });
}

/** Replaces `{{base}}`, `{{$timestamp}}`, and `{{user_id}}` by the id in the answer to the request named `user`. */
export function fillIn(text: string, base: string, answers: ReadonlyMap<string, Record<string, unknown>>): string {
  return text.replaceAll(/\{\{([^}]+)\}\}/g, (_whole, variable: string) => {
    if (variable === 'base') return base;
    if (variable === '$timestamp') return String(Date.now());
    const value = answers.get(/^(\w+)_id$/.exec(variable)?.[1] ?? '')?.id;
    if (value === undefined) throw new Error(`The variable {{${variable}}} has no value`);
    return String(value);
  });
}

export interface Command {
  /** As printed, with its line breaks. */
  shell: string;
  expect: { status: number; body: object };
}

/**
 * The curl commands of a section of the README, each followed by a line `# 201 {…}` with the expected status and body. A
 * `…` in the body stands for further properties.
 */
export function readCurlCommands(section: string): Command[] {
  const text = readExample('README.md');
  const start = text.indexOf(`\n## ${section}\n`);
  if (start < 0) throw new Error(`The README has no section "${section}"`);
  const end = text.indexOf('\n## ', start + 1);
  const blocks = [...text.slice(start, end < 0 ? undefined : end).matchAll(/```bash\n([\s\S]*?)```/g)];
  return blocks.flatMap(([, block = '']) =>
    [...block.matchAll(/(^curl [\s\S]*?)\n# (\d{3}) (\{.*\})$/gm)].map(([, shell = '', status, body = '']) => ({
      shell,
      expect: { status: Number(status), body: JSON.parse(body.replaceAll(/,?\s*…/g, '')) },
    })),
  );
}
