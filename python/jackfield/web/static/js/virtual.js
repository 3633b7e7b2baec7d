// A list of any length of which only what is on the screen is in the document.
import { h } from "./dom.js";

const SPARE = 6; // rows beyond each edge

/**
 * A listbox of rows that are `height()` pixels tall. `make()` gives a row's element with `update(item, index)`;
 * `onopen(item)` is Enter or a click, `onsee(items)` says which are on the screen.
 */
export class VirtualList {
  constructor({ label, height, make, onopen, onsee = () => {}, keyOf }) {
    this.items = [];
    this.chosen = null;
    this.keyOf = keyOf;
    this.height = height;
    this.make = make;
    this.onopen = onopen;
    this.onsee = onsee;
    this.pool = [];
    this.space = h("div.virtual-space", { role: "presentation" });
    this.element = h(
      "div.virtual",
      { role: "listbox", tabindex: "0", "aria-label": label, onkeydown: (event) => this.key(event) },
      this.space,
    );
    this.element.addEventListener("scroll", () => this.draw(), { passive: true });
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.element);
  }

  close() {
    this.observer.disconnect();
  }

  show(items) {
    this.items = items;
    this.draw();
  }

  draw() {
    const tall = this.height();
    const first = Math.max(0, Math.floor(this.element.scrollTop / tall) - SPARE);
    const room = Math.ceil(this.element.clientHeight / tall) + 2 * SPARE;
    const last = Math.min(this.items.length, first + room);
    this.space.style.height = `${this.items.length * tall}px`;
    while (this.pool.length < last - first) this.pool.push(this.add());
    this.pool.forEach((row, place) => {
      const index = first + place;
      const item = index < last ? this.items[index] : null;
      row.element.hidden = !item;
      row.item = item;
      if (item) this.place(row, item, index, tall);
    });
    const active = this.pool.find((row) => row.item && this.keyOf(row.item) === this.chosen);
    if (active) this.element.setAttribute("aria-activedescendant", active.element.id);
    else this.element.removeAttribute("aria-activedescendant");
    this.onsee(this.items.slice(first, last));
  }

  place(row, item, index, tall) {
    row.element.style.transform = `translateY(${index * tall}px)`;
    row.element.setAttribute("aria-posinset", index + 1);
    row.element.setAttribute("aria-setsize", this.items.length);
    row.element.setAttribute("aria-selected", this.keyOf(item) === this.chosen);
    row.update(item, index);
  }

  add() {
    const row = this.make();
    row.element.id = `option-${VirtualList.made++}`;
    row.element.setAttribute("role", "option");
    row.element.addEventListener("click", () => row.item && this.open(row.item));
    this.space.append(row.element);
    return row;
  }

  open(item) {
    this.chosen = this.keyOf(item);
    this.onopen(item);
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.height()) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -1e9, End: 1e9 };
    if (event.key in steps) {
      event.preventDefault();
      this.move(steps[event.key]);
    } else if (event.key === "Enter" && !event.isComposing) {
      const item = this.items.find((each) => this.keyOf(each) === this.chosen);
      if (item) this.open(item);
    }
  }

  move(step) {
    if (!this.items.length) return;
    const at = this.items.findIndex((each) => this.keyOf(each) === this.chosen);
    const next = at < 0 && Math.abs(step) < 1e8 ? 0 : Math.max(0, Math.min(this.items.length - 1, at + step));
    this.chosen = this.keyOf(this.items[next]);
    const tall = this.height();
    const { scrollTop, clientHeight } = this.element;
    if (next * tall < scrollTop) this.element.scrollTop = next * tall;
    else if ((next + 1) * tall > scrollTop + clientHeight) this.element.scrollTop = (next + 1) * tall - clientHeight;
    this.draw();
  }
}
VirtualList.made = 0;
