// Reads the examples people copy (requests.http, the curl commands of the README) so that a test can run them as
// they stand and hold the answers against what is printed beside them.
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

function read(file: string): string {
  return readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
}

/** The requests of a .http file, in order; `{{…}}` is still to be filled in. */
export function readHttpFile(file: string): Step[] {
  return read(file)
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
      if (!expected) throw new Error(`"${title}" in ${file} says not what to expect`);
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

/** Fills in `{{base}}`, `{{$randomInt}}` and `{{name.response.body.$.field}}`. */
export function fillIn(text: string, base: string, answers: ReadonlyMap<string, Record<string, unknown>>): string {
  return text.replaceAll(/\{\{([^}]+)\}\}/g, (_whole, variable: string) => {
    if (variable === 'base') return base;
    if (variable === '$randomInt') return String(Date.now());
    const [, name = '', field = ''] = /^(\w+)\.response\.body\.\$\.(\w+)$/.exec(variable) ?? [];
    const value = answers.get(name)?.[field];
    if (value === undefined) throw new Error(`nothing to put in place of {{${variable}}}`);
    return String(value);
  });
}

export interface Command {
  /** As printed, line breaks and all. */
  shell: string;
  expect: { status: number; body: object };
}

/**
 * The curl commands of the README's section, each followed by a line `# 201 {…}` that says what comes back. A `…` in
 * the printed body stands for more of the same.
 */
export function readCurlCommands(section: string): Command[] {
  const text = read('README.md');
  const start = text.indexOf(`\n## ${section}\n`);
  if (start < 0) throw new Error(`the README has no section "${section}"`);
  const end = text.indexOf('\n## ', start + 1);
  const blocks = [...text.slice(start, end < 0 ? undefined : end).matchAll(/```bash\n([\s\S]*?)```/g)];
  return blocks.flatMap(([, block = '']) =>
    [...block.matchAll(/(^curl [\s\S]*?)\n# (\d{3}) (\{.*\})$/gm)].map(([, shell = '', status, body = '']) => ({
      shell,
      expect: { status: Number(status), body: JSON.parse(body.replaceAll(/,?\s*…/g, '')) },
    })),
  );
}
