// Checks the examples of the documentation as an app's own checks would: Svelte compiles them, and what is TypeScript in them has
// the types that it seems to have. `$lib/forge` is a small client made for them: `documented.ts`.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { compile } from 'svelte/compiler';
import ts from 'typescript';

import { root } from './compile.js';

const folder = join(root, 'node_modules/.cache/forge-docs');
const pages = ['README.md', '../../docs/live-queries.md', '../../docs/jobs.md'];

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });

const files = [];
for (const page of pages) {
  const text = readFileSync(join(root, page), 'utf8');
  for (const [, kind, source] of text.matchAll(/^```(ts|svelte)\n(.*?)^```$/gms)) {
    const line = text.slice(0, text.indexOf(source)).split('\n').length;
    const name = `${page.replaceAll(/\W+/g, '-')}-${line}`;
    let code = source;
    if (kind === 'svelte') {
      const { warnings } = compile(source, { filename: `${name}.svelte`, generate: 'client' });
      for (const { code, message } of warnings) throw new Error(`${page}:${line}: ${code}: ${message}`);
      code = /<script lang="ts">(.*?)<\/script>/s.exec(source)[1];
    }
    const file = join(folder, `${name}.ts`);
    writeFileSync(file, `${code}\nexport {};\n`);
    files.push(file);
  }
}
if (files.length < 5) throw new Error(`only ${files.length} examples were found in ${pages.join(', ')}`);
writeFileSync(join(folder, 'outbox.ts'), "export { outbox } from '$lib/forge';\n");

const given = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile).config.compilerOptions;
const { options } = ts.convertCompilerOptionsFromJson(
  {
    ...given,
    noEmit: true,
    // The other half of an example, its markup, uses what its script declares.
    noUnusedLocals: false,
    noUnusedParameters: false,
    paths: { '$lib/forge': [join(root, 'test/documented.ts')] },
  },
  root,
);
const program = ts.createProgram(files, options);
const wrong = ts.getPreEmitDiagnostics(program);
if (wrong.length > 0) {
  const host = { getCanonicalFileName: (name) => name, getCurrentDirectory: () => folder, getNewLine: () => '\n' };
  console.error(ts.formatDiagnostics(wrong, host));
  process.exitCode = 1;
} else console.log(`${files.length} examples of the documentation are fine`);
