import assert from 'node:assert/strict';
import { test } from 'node:test';
import { render } from 'svelte/server';

import Outer from '../../node_modules/.cache/forge-client/server/Outer.svelte.js';
import { useForge } from '../../node_modules/.cache/forge-client/server/svelte.svelte.js';

const text = (html) => html.replace(/<!--.*?-->/g, '').trim();

test('a page is rendered without asking anything', () => {
  const client = new Proxy(
    { label: 'given', connection: { status: 'closed' } },
    {
      get: (target, key) => (key in target ? target[key] : assert.fail(`used ${String(key)}`)),
    },
  );
  assert.equal(text(render(Outer, { props: { client } }).body), '<p>given loading false false true closed false 0 closed 0</p>');
});

test('a page without a client is rendered too, and no two requests share one', () => {
  assert.equal(text(render(Outer, { props: {} }).body), '<p>own loading false false true closed false 0 closed 0</p>');
  assert.notEqual(useForge(), useForge());
});

test('importing touches nothing of a page', () => {
  assert.equal(typeof globalThis.window, 'undefined');
  assert.equal(typeof globalThis.document, 'undefined');
});
