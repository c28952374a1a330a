/** Tells people who do not see the page what has happened on it. */

let text = $state('');

export const spoken = {
  get text() {
    return text;
  },
};

export function announce(what: string): void {
  text = what;
}
