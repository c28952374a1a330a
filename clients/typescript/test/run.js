// Builds the sources as an app's bundler would (types stripped, runes compiled) and runs the tests on the result:
// `client/` for the browser, `server/` for pages that are rendered on the server.

import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { compile, compileModule } from 'svelte/compiler';

import { root, runtime } from './compile.js';

const built = join(root, 'node_modules/.cache/forge-client');

rmSync(built, { recursive: true, force: true });
for (const generate of ['client', 'server']) {
  mkdirSync(join(built, generate), { recursive: true });
  for (const [file, code] of runtime(generate)) writeFileSync(join(built, generate, file), code);
}
const reactive = readFileSync(join(root, 'test/reactive.svelte.js'), 'utf8');
writeFileSync(
  join(built, 'client/reactive.svelte.js'),
  compileModule(reactive, { generate: 'client' }).js.code,
);
for (const file of readdirSync(join(root, 'test/pages'))) {
  const source = readFileSync(join(root, 'test/pages', file), 'utf8');
  const { js } = compile(source, { generate: 'server', filename: file });
  writeFileSync(join(built, 'server', `${file}.js`), js.code);
}

const tests = (folder) =>
  readdirSync(join(root, 'test', folder))
    .filter((file) => file.endsWith('.test.js'))
    .map((file) => join('test', folder, file));
const run = (args) =>
  spawnSync(process.execPath, ['--test-timeout=60000', ...args], { cwd: root, stdio: 'inherit' })
    .status;
// Node has a `WebSocket` of its own from version 22; before, it has to be asked for.
const sockets = typeof WebSocket === 'undefined' ? ['--experimental-websocket', '--no-warnings'] : [];
const results = [
  run([...sockets, '--conditions=browser', '--test', ...tests('browser')]),
  run(['--test', ...tests('server')]),
];
process.exitCode = results.every((status) => status === 0) ? 0 : 1;
