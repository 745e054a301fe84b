// The tree of one object: only the rows that are in sight have elements.

import { isContainer } from "./source.js";

const HEIGHT = 24; // pixels of a row, as in page.css
const SPARE = 4; // rows above and below
const GLOW = 1200; // milliseconds that a change is marked

export class Tree {
  constructor(box, rows) {
    Object.assign(this, { box, holder: { value: {} }, flat: [], here: 0, changed: new Map() });
    this.open = new Set([""]);
    this.rows = rows;
    this.pool = [];
    box.addEventListener("scroll", () => this.paint());
    box.addEventListener("keydown", (event) => this.onKey(event));
    rows.addEventListener("click", (event) => this.onClick(event));
    new ResizeObserver(() => this.paint()).observe(box);
  }

  show(holder) {
    this.holder = holder;
    this.flatten();
    this.paint();
  }

  // The visible places in their order. Long containers cost one item per child.
  flatten() {
    const flat = [];
    const walk = (container, path, level) => {
      const keys = Object.keys(container);
      for (let n = 0; n < keys.length; n++) {
        const key = keys[n];
        const inner = path + "/" + key.replaceAll("~", "~0").replaceAll("/", "~1");
        flat.push({ container, key, path: inner, level, n, of: keys.length });
        if (this.open.has(inner) && isContainer(container[key])) walk(container[key], inner, level + 1);
      }
    };
    if (isContainer(this.holder.value)) walk(this.holder.value, "", 1);
    this.flat = flat;
    this.here = Math.min(this.here, Math.max(flat.length - 1, 0));
  }

  mark(path) {
    const now = performance.now();
    for (let at = path; at; at = at.slice(0, at.lastIndexOf("/"))) this.changed.set(at, now);
    if (this.changed.size > 5000) this.changed.clear();
  }

  // Returns whether marks are left, which are to be painted once more.
  paint() {
    const { box, flat, pool } = this;
    this.rows.style.height = `${flat.length * HEIGHT}px`;
    const first = Math.max(Math.floor(box.scrollTop / HEIGHT) - SPARE, 0);
    const last = Math.min(first + Math.ceil(box.clientHeight / HEIGHT) + 2 * SPARE, flat.length);
    while (pool.length < last - first) pool.push(this.newRow());
    const now = performance.now();
    for (const [path, since] of this.changed) if (now - since > GLOW) this.changed.delete(path);
    pool.forEach((row, n) => this.fill(row, first + n < last ? first + n : null));
    const active = this.here >= first && this.here < last ? `row-${this.here}` : null;
    if (active) box.setAttribute("aria-activedescendant", active);
    else box.removeAttribute("aria-activedescendant");
    return this.changed.size > 0;
  }

  newRow() {
    const row = document.createElement("div");
    row.className = "row";
    row.setAttribute("role", "treeitem");
    row.append(...["twisty", "key", "soft", "value"].map((name) => {
      const span = document.createElement("span");
      span.className = name;
      if (name === "value") span.dataset.value = "";
      return span;
    }));
    this.rows.append(row);
    return row;
  }

  fill(row, index) {
    row.hidden = index === null;
    if (index === null) return row.removeAttribute("id");
    const { container, key, path, level, n, of } = this.flat[index];
    const value = container[key], holds = isContainer(value), isOpen = holds && this.open.has(path);
    const [twisty, name, colon, text] = row.children;
    row.id = `row-${index}`;
    row.style.top = `${index * HEIGHT}px`;
    row.style.paddingLeft = `${Math.min(level - 1, 20) * 1.1 + 0.3}rem`;
    row.className = "row" + (index === this.here ? " here" : "") + (this.changed.has(path) ? " changed" : "");
    set(row, "aria-level", level), set(row, "aria-posinset", n + 1), set(row, "aria-setsize", of);
    set(row, "aria-selected", index === this.here);
    if (holds) set(row, "aria-expanded", isOpen);
    else row.removeAttribute("aria-expanded");
    write(twisty, holds ? (isOpen ? "▾" : "▸") : "");
    write(name, key);
    write(colon, ": ");
    text.className = holds ? "soft" : typeof value;
    write(text, preview(value));
  }

  onClick(event) {
    const row = event.target.closest(".row");
    if (!row) return;
    this.here = Number(row.id.slice(4));
    this.toggle(!this.open.has(this.flat[this.here].path));
  }

  toggle(open) {
    const at = this.flat[this.here];
    if (!at || !isContainer(at.container[at.key]) || open === this.open.has(at.path)) return this.paint();
    if (open) this.open.add(at.path);
    else this.open.delete(at.path);
    this.flatten();
    this.paint();
  }

  onKey(event) {
    const page = Math.max(Math.floor(this.box.clientHeight / HEIGHT) - 1, 1);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -1e9, End: 1e9 };
    if (event.key in moves) this.go(this.here + moves[event.key]);
    else if (event.key === "ArrowRight") this.toggle(true);
    else if (event.key === "Enter" || event.key === " ") this.toggle(!this.open.has(this.flat[this.here]?.path));
    else if (event.key === "ArrowLeft") this.close();
    else return;
    event.preventDefault();
  }

  // Close a container; on anything else go to what contains it.
  close() {
    const at = this.flat[this.here];
    if (!at) return;
    if (this.open.has(at.path) && isContainer(at.container[at.key])) return this.toggle(false);
    let up = this.here;
    while (up > 0 && this.flat[up].level >= at.level) up--;
    this.go(this.flat[up].level < at.level ? up : this.here);
  }

  go(index) {
    this.here = Math.max(0, Math.min(index, this.flat.length - 1));
    const top = this.here * HEIGHT, bottom = top + HEIGHT - this.box.clientHeight;
    if (this.box.scrollTop > top) this.box.scrollTop = top;
    if (this.box.scrollTop < bottom) this.box.scrollTop = bottom;
    this.paint();
  }
}

export function preview(value, most = 200) {
  if (Array.isArray(value)) return `[${value.length}]`;
  if (isContainer(value)) return `{${Object.keys(value).length}}`;
  const text = JSON.stringify(value) ?? "";
  return text.length > most ? text.slice(0, most) + "…" : text;
}

const set = (node, name, value) => {
  if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
};
const write = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};
