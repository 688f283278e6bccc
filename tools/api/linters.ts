// The linters of docs/openapi.json. Each returns what it finds, one line for each; none finds anything in a good document.
import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Converter } from '@apiture/openapi-down-convert';
import { Validator } from '@seriousme/openapi-schema-validator';
import spectralCore from '@stoplight/spectral-core';
import parsers from '@stoplight/spectral-parsers';
import rulesets from '@stoplight/spectral-rulesets';

const require = createRequire(import.meta.url);
const redocly = join(dirname(require.resolve('@redocly/cli/package.json')), 'bin/cli.js');

/** The least that `redocly score` must say, of 100: how easily a program can use the API. */
const leastScore = 85;

export async function lintByRedocly(file: string): Promise<string[]> {
  const { totals, problems } = await runRedocly(['lint', file, '--extends=recommended', '--format=json']);
  if (totals.errors + totals.warnings === 0) return [];
  return problems.map(({ ruleId, message, location }: RedoclyProblem) => {
    return `redocly ${ruleId}: ${message} (${location[0]?.pointer ?? ''})`;
  });
}

interface RedoclyProblem {
  ruleId: string;
  message: string;
  location: { pointer?: string }[];
}

export async function scoreByRedocly(file: string): Promise<string[]> {
  const { agentReadiness } = await runRedocly(['score', file, '--format=json']);
  return agentReadiness >= leastScore ? [] : [`redocly score: ${agentReadiness}, not ${leastScore} or more`];
}

/** Its exit code tells only whether there are errors: the output is read. */
function runRedocly(args: readonly string[]) {
  const env = { ...process.env, REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' };
  // biome-ignore lint/suspicious/noExplicitAny: the output of another program
  return new Promise<any>((done, fail) => {
    execFile(process.execPath, [redocly, ...args], { env, maxBuffer: 1e8 }, (error, stdout, stderr) => {
      try {
        done(JSON.parse(stdout));
      } catch {
        fail(error ?? new Error(stderr));
      }
    });
  });
}

export async function lintBySpectral(text: string): Promise<string[]> {
  const spectral = new spectralCore.Spectral();
  // biome-ignore lint/suspicious/noExplicitAny: the package's own types of its rulesets do not fit together
  spectral.setRuleset({ extends: [[rulesets.oas as any, 'recommended']] });
  const findings = await spectral.run(new spectralCore.Document(text, parsers.Json, 'openapi.json'));
  return findings.map(({ code, message, path }) => `spectral ${code}: ${message} (${path.join('.')})`);
}

/** Many generators of clients read OpenAPI 3.0 only. */
export async function validateVersions(text: string): Promise<string[]> {
  const converted = new Converter(JSON.parse(text)).convert();
  const findings = await Promise.all(
    [JSON.parse(text), converted].map(async (document) => {
      const validator = new Validator();
      const { valid, errors } = await validator.validate(document);
      return valid ? [] : [`OpenAPI ${validator.version}: ${JSON.stringify(errors)?.slice(0, 500)}`];
    }),
  );
  return findings.flat();
}
