/**
 * Changes to a result as the back end sends them: by position, so that nothing here has to know what a row's key is.
 * What a change does not touch stays the very same object, so that a list shows again only the rows that are new.
 */

/** A change to a value: another value, other fields of an object, or steps on an array. */
export type Patch =
  { '=': unknown } | { '~': { [field: string]: Patch } } | { '[]': readonly ArrayStep[] };

/** One step on an array, as the steps before it left it: update, insert, delete, or take out and insert elsewhere. */
export type ArrayStep =
  | readonly ['u', index: number, patch: Patch]
  | readonly ['i', index: number, value: unknown]
  | readonly ['d', index: number]
  | readonly ['m', from: number, to: number];

/** The value with the patch applied; the value itself is left as it was. Throws when the patch is not one for it. */
export function applyPatch(value: unknown, patch: unknown): unknown {
  if (isObject(patch)) {
    if ('=' in patch) return patch['='];
    if (isObject(patch['~']) && isObject(value)) return withFields(value, patch['~']);
    if (Array.isArray(patch['[]']) && Array.isArray(value)) return withSteps(value, patch['[]']);
  }
  throw new Error('the change does not fit the value');
}

function withFields(value: Fields, patches: Fields): Fields {
  const next = { ...value };
  for (const [field, patch] of Object.entries(patches)) {
    // Defined, not assigned: a field may be called `__proto__`.
    Object.defineProperty(next, field, {
      value: applyPatch(Object.hasOwn(value, field) ? value[field] : undefined, patch),
      configurable: true,
      enumerable: true,
      writable: true,
    });
  }
  return next;
}

function withSteps(value: readonly unknown[], steps: readonly unknown[]): unknown[] {
  const next = [...value];
  /** An index that is a place among so many. */
  const place = (index: unknown, count: number): number => {
    if (Number.isInteger(index) && (index as number) >= 0 && (index as number) < count)
      return index as number;
    throw new Error(`there is no place ${String(index)} among ${count}`);
  };
  for (const step of steps) {
    const [kind, at, what] = Array.isArray(step) ? step : [];
    if (kind === 'u') {
      const index = place(at, next.length);
      next[index] = applyPatch(next[index], what);
    } else if (kind === 'i') next.splice(place(at, next.length + 1), 0, what);
    else if (kind === 'd') next.splice(place(at, next.length), 1);
    else if (kind === 'm') {
      const [moved] = next.splice(place(at, next.length), 1);
      next.splice(place(what, next.length + 1), 0, moved);
    } else throw new Error(`there is no step ${String(kind)}`);
  }
  return next;
}

type Fields = { [field: string]: unknown };

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
