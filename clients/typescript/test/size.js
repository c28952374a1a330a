// Prints what the runtime adds to a page: bundled, tree-shaken, minified and compressed, Svelte itself left out because
// the page has it anyway. Fails when it grows past what the README promises.

import { gzipSync } from 'node:zlib';
import { rolldown } from 'rolldown';

import { runtime } from './compile.js';

const CLIENT = "export { createForgeClient, query, mutation, action } from './client.js';";
const SVELTE = `${CLIENT} export { call, live, load } from './svelte.svelte.js';`;
const ALL = `${SVELTE} export { createOutbox, newId } from './client.js'; export { connection, present, trackJob } from './svelte.svelte.js';`;

/** What pages use, and the most that it may weigh, in bytes of gzip. */
const uses = [
  ['the core', CLIENT, 10_500],
  ['the core and the Svelte adapter', SVELTE, 11_300],
  ['all of it: also an outbox, presence, how the connection is', ALL, 12_000],
];
/** What a page loads later, when it needs it. */
const LATER = ['streams of events, loaded where no WebSocket gets through', 1_000];

const modules = runtime('client');

/** The page's own code, and what it loads later. */
async function bundled(entry) {
  const bundle = await rolldown({
    input: 'entry.js',
    // As for a page, whose first file may hold what others share with it.
    preserveEntrySignatures: 'allow-extension',
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
  return [output.filter(({ isDynamicEntry }) => !isDynamicEntry), output.filter(({ isDynamicEntry }) => isDynamicEntry)];
}

function weigh(what, chunks, limit) {
  const code = chunks.map((chunk) => chunk.code).join('');
  const bytes = chunks.reduce((sum, chunk) => sum + gzipSync(chunk.code, { level: 9 }).length, 0);
  console.log(`${what}: ${code.length} bytes minified, ${bytes} bytes with gzip (limit ${limit})`);
  if (bytes <= limit && code.length > 0) return;
  console.error(code.length > 0 ? `that is ${bytes - limit} bytes too many` : 'that is not to be found');
  process.exitCode = 1;
}

let later;
for (const [what, entry, limit] of uses) {
  const [own, other] = await bundled(entry);
  weigh(what, own, limit);
  later = other;
}
weigh(LATER[0], later, LATER[1]);
