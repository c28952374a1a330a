// State and effects for tests of reactive code.

/** A value that effects can depend on. */
export function cell(initial) {
  let value = $state.raw(initial);
  return {
    get value() {
      return value;
    },
    set value(next) {
      value = next;
    },
  };
}

/** An object that effects can depend on, field by field. */
export function proxied(initial) {
  const value = $state(initial);
  return value;
}

/** Runs a function where effects may be made, as a component does; gives the function that ends them. */
export function inComponent(setUp) {
  return $effect.root(() => {
    setUp((effect) => {
      $effect(effect);
    });
  });
}

/** Waits until a condition over reactive values holds. */
export function until(condition, limit = 5000) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`not within ${limit} ms: ${condition}`)), limit);
    const end = $effect.root(() => {
      $effect(() => {
        if (!condition()) return;
        clearTimeout(late);
        queueMicrotask(() => end());
        resolve();
      });
    });
  });
}
