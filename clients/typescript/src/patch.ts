/**
 * Changes to a result as the back end sends them: by position, so that nothing here has to know what a row's key is.
 * What a change does not touch stays the very same object, so that a list shows again only the rows that are new.
 */

/**
 * A change to a value: what it is now, alone in a list if it is an object or a list itself; or other fields of an object;
 * or steps on a list, one after the other. A step is a place and the change to what is there; `'i'`, a place and what
 * is inserted; `'d'` and the place that is left out; or `'m'` and the places from and to which something moves.
 */
export type Patch =
  | string
  | number
  | boolean
  | null
  | readonly [value: unknown]
  | readonly [step: unknown, ...steps: unknown[]]
  | { readonly [field: string]: Patch };

/**
 * The value with a change in it; the value itself is left as it was. The change is the way to what changes, field by field
 * and place by place, and a patch of that. Throws when it is not one for this value.
 */
export function applyChange(value: unknown, change: unknown): unknown {
  if (!Array.isArray(change)) return unfit();
  const patch: unknown = change.reduceRight((inner: unknown, step: unknown) =>
    typeof step === 'number' ? [step, inner] : { [String(step)]: inner },
  );
  return applyPatch(value, patch);
}

/** The value with a patch applied; the value itself is left as it was. Throws when the patch is not one for it. */
export function applyPatch(value: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch === undefined ? unfit() : patch;
  if (!Array.isArray(patch))
    return isObject(value) && !Array.isArray(value) ? withFields(value, patch) : unfit();
  if (patch.length === 1) return patch[0];
  return patch.length > 0 && Array.isArray(value) ? withSteps(value, patch) : unfit();
}

function withFields(value: Fields, patches: Fields): Fields {
  const changed = Object.entries(patches).map(([field, patch]) =>
    Object.hasOwn(value, field) ? [field, applyPatch(value[field], patch)] : unfit(),
  );
  // Nothing is assigned: a field may be called `__proto__`.
  return { ...value, ...Object.fromEntries(changed) };
}

function withSteps(value: readonly unknown[], steps: readonly unknown[]): unknown[] {
  const next = [...value];
  let at = 0;
  const take = (): unknown => (at < steps.length ? steps[at++] : unfit());
  /** An index that is a place in the list, or behind all of them if that counts. */
  const place = (behind: boolean, index = take()): number =>
    typeof index === 'number' && (index in next || (behind && index === next.length))
      ? index
      : unfit();
  while (at < steps.length) {
    const step = take();
    if (step === 'i') next.splice(place(true), 0, take());
    else if (step === 'd') next.splice(place(false), 1);
    else if (step === 'm') {
      const moved = next.splice(place(false), 1);
      next.splice(place(true), 0, ...moved);
    } else {
      const index = place(false, step);
      next[index] = applyPatch(next[index], take());
    }
  }
  return next;
}

type Fields = { [field: string]: unknown };

function isObject(value: unknown): value is Fields {
  return value === Object(value);
}

function unfit(): never {
  throw new Error('it does not fit');
}
