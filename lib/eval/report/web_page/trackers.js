"use strict";
// Which trackers are shown, and what each looks like everywhere on the page.

const NUM_COLOURS = 10;
const DASHES = ["", "7 3", "2 3", "8 3 2 3"];

class Trackers {
  #shown;
  #listeners = [];

  constructor(names) {
    this.names = names;
    this.#shown = names.map(() => true);
  }

  /** Indices of the trackers that are shown. */
  get shown() {
    return [...this.names.keys()].filter((index) => this.#shown[index]);
  }

  isShown(index) {
    return this.#shown[index];
  }

  toggle(index) {
    this.#shown[index] = !this.#shown[index];
    this.#tell();
  }

  showAll(shown) {
    this.#shown.fill(shown);
    this.#tell();
  }

  onChange(listener) {
    this.#listeners.push(listener);
  }

  colour(index) {
    return `var(--tracker-${index % NUM_COLOURS})`;
  }

  dash(index) {
    return DASHES[Math.floor(index / NUM_COLOURS) % DASHES.length];
  }

  swatch(index) {
    const line = graphic("line", { x1: 0, y1: 4, x2: 22, y2: 4, "stroke-width": 4, "stroke-dasharray": this.dash(index) });
    line.style.stroke = this.colour(index);
    return graphic("svg", { class: "swatch", viewBox: "0 0 22 8", "aria-hidden": "true" }, line);
  }

  #tell() {
    for (const listener of this.#listeners) listener();
  }
}

function drawChips(container, trackers) {
  const longest = Math.max(...trackers.names.map((name) => name.length));
  document.documentElement.style.setProperty("--longest-name", `${Math.min(longest, 40)}ch`);
  const chips = trackers.names.map((name, index) =>
    element("button", { class: "chip", type: "button", "aria-pressed": "true", onclick: () => trackers.toggle(index) }, trackers.swatch(index), name));
  const all = element("button", { class: "chip", type: "button", onclick: () => trackers.showAll(true) }, "show all");
  const none = element("button", { class: "chip", type: "button", onclick: () => trackers.showAll(false) }, "hide all");
  container.append(...chips);
  if (chips.length > 2) container.append(all, none);
  trackers.onChange(() => chips.forEach((chip, index) => chip.setAttribute("aria-pressed", trackers.isShown(index))));
}
