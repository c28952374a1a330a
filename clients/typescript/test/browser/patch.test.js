import assert from 'node:assert/strict';
import { test } from 'node:test';

import { applyChange, applyPatch } from '../../node_modules/.cache/forge-client/client/patch.js';

test('a value is replaced, fields are changed, and the rest is left as it was', () => {
  const card = { id: 1, tags: ['a'], owner: { name: 'Ada', age: 3 } };
  for (const value of [null, 'x', 7, false]) assert.equal(applyPatch(card, value), value);
  for (const value of [[], [1, 2], { id: 2 }, null]) assert.deepEqual(applyPatch(card, [value]), value);
  const next = applyPatch(card, { id: 2, owner: { age: 4, name: ['Eve'] } });
  assert.deepEqual(next, { id: 2, tags: ['a'], owner: { name: 'Eve', age: 4 } });
  assert.equal(next.tags, card.tags);
  assert.deepEqual(card, { id: 1, tags: ['a'], owner: { name: 'Ada', age: 3 } });
});

test('a change leads to what it changes, and everything else is the same object', () => {
  const board = { cards: [{ id: 1 }, { id: 2, tags: ['a', 'b'] }], name: 'x', 3: 'three' };
  const next = applyChange(board, ['cards', 1, 'tags', ['d', 0]]);
  assert.deepEqual(next.cards, [{ id: 1 }, { id: 2, tags: ['b'] }]);
  assert.equal(next.cards[0], board.cards[0]);
  assert.deepEqual(board.cards[1].tags, ['a', 'b']);
  assert.deepEqual(applyChange(board, ['cards', 0, { id: 9 }]).cards[0], { id: 9 });
  assert.equal(applyChange(board, ['3', 'drei'])[3], 'drei');
  assert.deepEqual(applyChange([1, 2], [1, 3]), [1, 3]);
  assert.deepEqual(applyChange([1, 2], [[[]]]), []);
  assert.equal(applyChange(board, [7]), 7);
});

test('steps on an array are taken one after another, and unchanged rows stay the same objects', () => {
  const rows = ['a', 'b', 'c', 'd'].map((id) => ({ id }));
  const steps = [
    ['d', 0],
    ['i', 0, { id: 'new' }],
    ['m', 3, 1],
    [2, { id: 'B' }],
    ['i', 4, { id: 'end' }],
  ];
  const next = applyPatch(rows, steps.flat());
  assert.deepEqual(
    next.map((row) => row.id),
    ['new', 'd', 'B', 'c', 'end'],
  );
  assert.equal(next[1], rows[3]);
  assert.equal(next[3], rows[2]);
  assert.deepEqual(
    rows.map((row) => row.id),
    ['a', 'b', 'c', 'd'],
  );
});

test('any list becomes any other by steps that a simple differ makes', () => {
  let seed = 7;
  const random = (below) => (seed = (seed * 48271) % 2147483647) % below;
  for (let round = 0; round < 300; round++) {
    const from = Array.from({ length: random(12) }, (_, id) => ({ id, text: random(3) }));
    const to = [...from]
      .filter(() => random(4) > 0)
      .map((row) => (random(3) === 0 ? { ...row, text: 9 } : row));
    for (let i = 0; i < random(4); i++) to.splice(random(to.length + 1), 0, { id: 100 + i, text: 1 });
    for (let i = 0; i < random(3) && to.length > 0; i++)
      to.splice(random(to.length), 0, ...to.splice(random(to.length), 1));
    const steps = [];
    const now = [...from];
    for (let i = now.length - 1; i >= 0; i--)
      if (!to.some((row) => row.id === now[i].id)) {
        steps.push('d', i);
        now.splice(i, 1);
      }
    to.forEach((row, i) => {
      const at = now.findIndex((other) => other.id === row.id);
      if (at < 0) {
        steps.push('i', i, row);
        now.splice(i, 0, row);
        return;
      }
      if (at !== i) {
        steps.push('m', at, i);
        now.splice(i, 0, ...now.splice(at, 1));
      }
      if (now[i].text !== row.text) {
        steps.push(i, { text: row.text });
        now[i] = row;
      }
    });
    assert.deepEqual(steps.length > 0 ? applyPatch(from, steps) : from, to);
  }
});

test('a change that does not fit is refused, whatever it is', () => {
  const wrong = [
    [1, { a: 1 }],
    [[1], { a: 1 }],
    [null, { a: 1 }],
    [{}, { a: 1 }],
    [{ a: 1 }, { a: { b: 1 } }],
    [{ a: 1 }, { a: [] }],
    [{}, ['d', 0]],
    [[1], ['d', 1]],
    [[1], ['i', 2, 0]],
    [[1], ['i', -1, 0]],
    [[1], ['i', 0]],
    [[1], [0.5, 1]],
    [[1, 2], ['m', 0, 2]],
    [[1], ['x', 0]],
    [[1], ['d', '0']],
    [[1], ['d', 0, 'd']],
    [[1], [0, undefined]],
    [{}, []],
    [{}, undefined],
  ];
  for (const [value, patch] of wrong)
    assert.throws(() => applyPatch(value, patch), Error, JSON.stringify(patch));
  const astray = [
    [{ a: 1 }, []],
    [{ a: 1 }, ['b', 2]],
    [{ a: 1 }, [0, 2]],
    [[1], [1, 2]],
    [[1], ['0', 2]],
    [[1], [-1, 2]],
    [{ a: 1 }, ['a', 'b', 2]],
    [{ a: 1 }, [{ a: 1 }, 2]],
    [null, ['a', 2]],
  ];
  for (const [value, change] of astray)
    assert.throws(() => applyChange(value, change), Error, JSON.stringify(change));
});

test('a field that is called like the prototype is a field', () => {
  const value = JSON.parse('{"__proto__": 1}');
  for (const next of [
    applyPatch(value, JSON.parse('{"__proto__": [{"admin": true}]}')),
    applyChange(value, ['__proto__', [{ admin: true }]]),
  ]) {
    assert.equal(JSON.stringify(next), '{"__proto__":{"admin":true}}');
    assert.equal(next.admin, undefined);
    assert.equal(Object.getPrototypeOf(next), Object.prototype);
  }
  // What is inherited is not a field.
  assert.throws(() => applyPatch({}, { toString: {} }));
  assert.throws(() => applyChange({}, ['toString', 1]));
});
