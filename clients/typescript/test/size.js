// Prints what the runtime adds to a page: bundled, tree-shaken, minified and compressed, Svelte itself left out because
// the page has it anyway. Fails when it grows past what the README promises.

import { gzipSync } from 'node:zlib';
import { rolldown } from 'rolldown';

import { runtime } from './compile.js';

const CLIENT = "export { createForgeClient, query, mutation, action } from './client.js';";
const ALL = `${CLIENT} export { call, live, load } from './svelte.svelte.js';`;

/** What pages use, and the most that it may weigh, in bytes of gzip. */
const uses = [
  ['the core: calls, subscriptions, optimistic changes', CLIENT, 8_500],
  ['the core and the Svelte adapter', ALL, 9_500],
];

const modules = runtime('client');
for (const [what, entry, limit] of uses) {
  const bundle = await rolldown({
    input: 'entry.js',
    external: /^svelte($|\/)/,
    plugins: [
      {
        name: 'sources',
        resolveId: (id) => (id.endsWith('.js') ? id.replace('./', '') : null),
        load: (id) => (id === 'entry.js' ? entry : modules.get(id)),
      },
    ],
  });
  const { output } = await bundle.generate({ format: 'esm', minify: true });
  const code = output[0].code;
  const bytes = gzipSync(code, { level: 9 }).length;
  console.log(`${what}: ${code.length} bytes minified, ${bytes} bytes with gzip (limit ${limit})`);
  if (bytes > limit) {
    console.error(`that is ${bytes - limit} bytes too many`);
    process.exitCode = 1;
  }
}
