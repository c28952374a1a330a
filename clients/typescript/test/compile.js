// Compiles the sources as an app's bundler would: types stripped, runes compiled.

import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileModule } from 'svelte/compiler';
import ts from 'typescript';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** Every module of the runtime as JavaScript, by file name; `generate` says whether for the browser or a server. */
export function runtime(generate) {
  const compilerOptions = {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    verbatimModuleSyntax: true,
  };
  const modules = readdirSync(join(root, 'src')).map((file) => {
    const source = readFileSync(join(root, 'src', file), 'utf8');
    const filename = file.replace(/\.ts$/, '.js');
    const code = ts.transpileModule(source, { compilerOptions }).outputText;
    return [
      filename,
      file.endsWith('.svelte.ts') ? compileModule(code, { generate, filename }).js.code : code,
    ];
  });
  return new Map(modules);
}
