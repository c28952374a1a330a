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
export function applyChange(value: unknown, change: readonly unknown[]): unknown {
  const patch = change.reduceRight((inner, step) =>
    typeof step === 'number' ? [step, inner] : { [String(step)]: inner },
  );
  return applyPatch(value, patch);
}

/** The value with a patch applied; the value itself is left as it was. Throws when the patch is not one for it. */
export function applyPatch(value: unknown, patch: unknown): unknown {
  if (Array.isArray(patch)) {
    if (patch.length === 1) return patch[0];
    if (patch.length > 1 && Array.isArray(value)) return withSteps(value, patch);
  } else if (!isObject(patch)) {
    if (patch !== undefined) return patch;
  } else if (isObject(value)) return withFields(value, patch);
  return unfit();
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
  const left = steps.values();
  const take = (): unknown => {
    const { value, done } = left.next();
    return done ? unfit() : value;
  };
  /** An index that is a place among so many. */
  const place = (count: number, index = take()): number => {
    if (Number.isInteger(index) && (index as number) >= 0 && (index as number) < count)
      return index as number;
    return unfit();
  };
  for (const step of left)
    if (step === 'i') next.splice(place(next.length + 1), 0, take());
    else if (step === 'd') next.splice(place(next.length), 1);
    else if (step === 'm') {
      const [moved] = next.splice(place(next.length), 1);
      next.splice(place(next.length + 1), 0, moved);
    } else {
      const at = place(next.length, step);
      next[at] = applyPatch(next[at], take());
    }
  return next;
}

type Fields = { [field: string]: unknown };

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function unfit(): never {
  throw new Error('the change does not fit');
}
