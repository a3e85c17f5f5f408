"use strict";
// Elements, numbers and the cursor that plots share. All text reaches the page as text nodes, never as markup.

function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function graphic(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function percent(share) {
  return share === null ? "–" : (100 * share).toFixed(1);
}

function speed(fps) {
  return fps === null ? "–" : fps.toFixed(fps < 100 ? 1 : 0);
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

function mean(values) {
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
}

/** The numbers 0 ... count-1 can be chosen on `node` by pointer and by arrow keys; `choose(null)` when left alone. */
function makeSlider(node, { label, count, indexAt, choose, describe }) {
  let index = null;
  fill(node, { role: "slider", tabindex: "0", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": count - 1 }, []);
  const set = (next, spoken) => {
    index = next;
    choose(index);
    node.setAttribute("aria-valuenow", index ?? 0);
    if (spoken) node.setAttribute("aria-valuetext", describe(index ?? 0));
  };
  node.setAttribute("aria-valuenow", 0);
  node.setAttribute("aria-valuetext", describe(0));
  node.addEventListener("pointermove", (event) => set(clamp(indexAt(event), 0, count - 1), false));
  node.addEventListener("pointerdown", (event) => set(clamp(indexAt(event), 0, count - 1), true));
  node.addEventListener("pointerleave", () => set(null, false));
  node.addEventListener("blur", () => set(null, false));
  node.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.round(count / 10));
    const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -page, PageUp: page, Home: -count, End: count };
    if (!(event.key in steps)) return;
    event.preventDefault();
    set(clamp((index ?? 0) + steps[event.key], 0, count - 1), true);
  });
  return { set: (next) => set(next, true) };
}
