/** Times, hours and names, as people read them. */

import { byMinute } from './clock.svelte';

const day = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });
const dayOfYear = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric' });
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
const ago = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto' });

/** A day, with its year when that is not this one. */
export function shortDay(time: string): string {
  const date = new Date(time);
  return (date.getFullYear() === new Date().getFullYear() ? day : dayOfYear).format(date);
}

export function fullTime(time: string): string {
  return moment.format(new Date(time));
}

/** How long ago: `5 minutes ago`, `yesterday`. */
export function since(time: string): string {
  const seconds = (new Date(time).getTime() - byMinute()) / 1000;
  const steps = [
    ['day', 86_400],
    ['hour', 3_600],
    ['minute', 60],
  ] as const;
  for (const [unit, length] of steps) {
    if (Math.abs(seconds) >= length) return ago.format(Math.round(seconds / length), unit);
  }
  return 'just now';
}

/** Whether a due time is past, within a day, or later. */
export function urgency(due: string): 'overdue' | 'soon' | 'later' {
  const left = new Date(due).getTime() - byMinute();
  if (left < 0) return 'overdue';
  return left < 86_400_000 ? 'soon' : 'later';
}

/** Hours, from a decimal: `2.50` becomes `2.5 h`. */
export function hours(estimate: string): string {
  return `${Number(estimate)} h`;
}

export function initials(name: string): string {
  const words = name.split(/\s+/).filter(Boolean);
  const letters = [words[0], words.length > 1 ? words.at(-1) : undefined];
  return letters.map((word) => (word ? [...word][0] : '')).join('').toUpperCase();
}

/** A hue of one's own for everybody. */
export function hue(id: string): number {
  let sum = 0;
  for (const char of id) sum = (sum * 31 + char.charCodeAt(0)) % 360;
  return sum;
}

/** From the wire to `<input type="datetime-local">`, in local time; with seconds only where there are any. */
export function toLocalInput(time: string | null): string {
  if (time === null) return '';
  const date = new Date(time);
  const text = new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
  return text.endsWith(':00') ? text.slice(0, 16) : text;
}

export function fromLocalInput(text: string): string | null {
  return text === '' ? null : new Date(text).toISOString();
}

/** What a browser says about itself, in a few words. */
export function browserName(agent: string | null): string {
  if (!agent) return 'Unknown browser';
  const browsers = [
    ['Edg/', 'Edge'],
    ['OPR/', 'Opera'],
    ['Firefox/', 'Firefox'],
    ['Chrome/', 'Chrome'],
    ['Safari/', 'Safari'],
  ] as const;
  const systems = [
    ['Android', 'Android'],
    ['iPhone', 'iPhone'],
    ['iPad', 'iPad'],
    ['Windows', 'Windows'],
    ['Mac OS', 'macOS'],
    ['Linux', 'Linux'],
  ] as const;
  const browser = browsers.find(([mark]) => agent.includes(mark))?.[1];
  const system = systems.find(([mark]) => agent.includes(mark))?.[1];
  if (!browser) return agent.slice(0, 60);
  return system ? `${browser} on ${system}` : browser;
}
