/**
 * Dragging a card with a mouse, a pen or a finger. A finger has to rest on the card first, so that it can still scroll.
 * Elements with `data-column` and, in them, `data-card` are where cards can go.
 */

import type { Place } from './arrange';

/** How far a mouse moves before it drags, in pixels. */
const SLACK = 5;
/** How long a finger rests before it drags, in milliseconds. */
const REST = 250;
/** How near to an edge things begin to scroll, in pixels, and how fast they do at most, in pixels per frame. */
const EDGE = 48;
const SPEED = 14;

export class Drag {
  /** The card that is being dragged. */
  cardId = $state<string>();
  /** Where it would go. */
  over = $state.raw<Place>();
  /** Where its picture is, and how wide that is. */
  x = $state(0);
  y = $state(0);
  width = $state(0);

  #drop: (cardId: string, place: Place) => void;
  #grip = { x: 0, y: 0 };
  #pointer = { x: 0, y: 0 };
  #end: (() => void) | undefined;

  constructor(drop: (cardId: string, place: Place) => void) {
    this.#drop = drop;
  }

  /** A pointer goes down on a card: it will click, scroll or drag. */
  begin(event: PointerEvent, cardId: string): void {
    const tile = event.currentTarget as HTMLElement;
    const inner = event.target instanceof Element ? event.target.closest('button, a, input') : null;
    // The button that covers the card is what is dragged; others on it are clicked only.
    if (event.button !== 0 || this.#end || (inner && !inner.hasAttribute('data-drag'))) return;
    const start = { x: event.clientX, y: event.clientY };
    const finger = event.pointerType === 'touch';
    const listeners = new AbortController();
    const { signal } = listeners;
    let frame = 0;
    const timer = finger ? setTimeout(() => lift(), REST) : undefined;

    const lift = () => {
      const box = tile.getBoundingClientRect();
      this.#grip = { x: start.x - box.left, y: start.y - box.top };
      this.width = box.width;
      this.cardId = cardId;
      this.#moveTo(start.x, start.y);
      const scroll = () => {
        this.#scrollAtEdges();
        frame = requestAnimationFrame(scroll);
      };
      frame = requestAnimationFrame(scroll);
    };
    const end = () => {
      clearTimeout(timer);
      cancelAnimationFrame(frame);
      listeners.abort();
      this.#end = undefined;
      this.cardId = undefined;
      this.over = undefined;
    };
    this.#end = end;

    addEventListener(
      'pointermove',
      (move) => {
        if (move.pointerId !== event.pointerId) return;
        const far = Math.hypot(move.clientX - start.x, move.clientY - start.y) > SLACK;
        if (this.cardId) this.#moveTo(move.clientX, move.clientY);
        else if (far && finger) end();
        else if (far) {
          lift();
          this.#moveTo(move.clientX, move.clientY);
        }
      },
      { signal },
    );
    addEventListener(
      'pointerup',
      (up) => {
        if (up.pointerId !== event.pointerId) return;
        const place = this.cardId && this.over;
        if (this.cardId) swallowNextClick();
        end();
        if (place) this.#drop(cardId, place);
      },
      { signal },
    );
    addEventListener('pointercancel', end, { signal });
    addEventListener('blur', end, { signal });
    addEventListener(
      'keydown',
      (key) => {
        if (key.key === 'Escape') end();
      },
      { signal },
    );
    // While a card is held, the finger moves it and not the page.
    const hold = (touch: Event) => {
      if (this.cardId && touch.cancelable) touch.preventDefault();
    };
    tile.addEventListener('touchmove', hold, { passive: false, signal });
    tile.addEventListener('contextmenu', hold, { signal });
  }

  /** Lets go of whatever is held. */
  cancel(): void {
    this.#end?.();
  }

  #moveTo(x: number, y: number): void {
    this.#pointer = { x, y };
    this.x = x - this.#grip.x;
    this.y = y - this.#grip.y;
    this.over = this.#placeAt(x, y);
  }

  #placeAt(x: number, y: number): Place | undefined {
    let nearest: { element: HTMLElement; distance: number } | undefined;
    for (const element of document.querySelectorAll<HTMLElement>('[data-column]')) {
      const box = element.getBoundingClientRect();
      const distance = Math.max(box.left - x, 0, x - box.right);
      if (!nearest || distance < nearest.distance) nearest = { element, distance };
    }
    const columnId = nearest?.element.dataset['column'];
    if (!nearest || !columnId) return undefined;
    for (const card of nearest.element.querySelectorAll<HTMLElement>('[data-card]')) {
      const { card: id } = card.dataset;
      const box = card.getBoundingClientRect();
      if (id && id !== this.cardId && y < box.top + box.height / 2) return { columnId, before: id };
    }
    return { columnId, before: null };
  }

  #scrollAtEdges(): void {
    const { x, y } = this.#pointer;
    const scrollers = document.querySelectorAll<HTMLElement>('[data-scroll]');
    for (const scroller of scrollers) {
      const box = scroller.getBoundingClientRect();
      if (x < box.left || x > box.right || y < box.top - EDGE || y > box.bottom + EDGE) continue;
      if (scroller.dataset['scroll'] === 'x') scroller.scrollLeft += push(x, box.left, box.right);
      else scroller.scrollTop += push(y, box.top, box.bottom);
    }
    this.over = this.#placeAt(x, y);
  }
}

/** How far to scroll for a pointer between two edges: the nearer to one, the further. */
function push(at: number, low: number, high: number): number {
  const near = (distance: number) => Math.min(Math.max(1 - distance / EDGE, 0), 1) * SPEED;
  return near(high - at) - near(at - low);
}

/** Letting go of a card is a click on it, too: not one that should open it. */
function swallowNextClick(): void {
  const listeners = new AbortController();
  addEventListener(
    'click',
    (click) => {
      click.preventDefault();
      click.stopPropagation();
    },
    { capture: true, signal: listeners.signal },
  );
  // The click comes right after, if it comes at all.
  setTimeout(() => listeners.abort());
}
