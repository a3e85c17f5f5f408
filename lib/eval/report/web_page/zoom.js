"use strict";
// Which part of a video a plot shows: dragging over it, buttons and keys choose another.

const FEWEST_FRAMES = 10;
const DRAG_STARTS_AT = 6; // pixels; less is a click

/** The frames start ... stop-1 of `count`. */
class FrameView {
  constructor(count) {
    this.count = count;
    this.showAll();
  }

  get length() {
    return this.stop - this.start;
  }

  get isWhole() {
    return this.length === this.count;
  }

  showAll() {
    [this.start, this.stop] = [0, this.count];
  }

  /** Show about the frames first ... last: not fewer than some, none outside the video. */
  show(first, last) {
    const length = clamp(last - first + 1, Math.min(FEWEST_FRAMES, this.count), this.count);
    const middle = (first + last + 1) / 2;
    this.start = clamp(Math.round(middle - length / 2), 0, this.count - length);
    this.stop = this.start + length;
  }

  /** Show `factor` times as many frames; `at` keeps its place. */
  zoom(factor, at) {
    const share = (at - this.start) / this.length;
    const length = clamp(Math.round(this.length * factor), Math.min(FEWEST_FRAMES, this.count), this.count);
    this.start = clamp(Math.round(at - share * length), 0, this.count - length);
    this.stop = this.start + length;
  }

  /** Move by a share of what is shown. */
  pan(share) {
    const start = clamp(this.start + Math.round(share * this.length), 0, this.count - this.length);
    [this.start, this.stop] = [start, start + this.length];
  }

  /** Move so far that a frame is shown; tell whether that was needed. */
  reveal(frame) {
    if (frame >= this.start && frame < this.stop) return false;
    const start = clamp(frame - Math.floor(this.length / 2), 0, this.count - this.length);
    [this.start, this.stop] = [start, start + this.length];
    return true;
  }

  /** Where a frame lies between 0 and 1, and which frame lies there. */
  share(frame) {
    return (frame - this.start) / Math.max(1, this.length - 1);
  }

  frameAt(share) {
    return clamp(this.start + Math.round(share * (this.length - 1)), this.start, this.stop - 1);
  }
}

/** Return buttons for a view. Dragging over `plot` selects frames; the keys + - 0 zoom around `cursor()`. */
function makeZoomable(plot, view, { shareAt, cursor, onchange }) {
  const change = (act) => () => {
    act();
    update();
    onchange();
  };
  const middle = () => cursor() ?? view.start + view.length / 2;
  const button = (label, text, act) => element("button", { type: "button", "aria-label": label, title: label, onclick: change(act) }, text);
  const nearer = button("fewer frames", "+", () => view.zoom(0.5, middle()));
  const farther = button("more frames", "−", () => view.zoom(2, middle()));
  const earlier = button("earlier frames", "◀", () => view.pan(-0.5));
  const later = button("later frames", "▶", () => view.pan(0.5));
  const all = element("button", { type: "button", onclick: change(() => view.showAll()) }, "whole video");
  const range = element("output", { class: "quiet" });
  const update = () => {
    range.textContent = `frames ${view.start} to ${view.stop - 1}`;
    nearer.disabled = view.length <= FEWEST_FRAMES;
    farther.disabled = all.disabled = view.isWhole;
    earlier.disabled = view.start === 0;
    later.disabled = view.stop === view.count;
  };
  update();

  const selection = element("div", { class: "selection", hidden: "" });
  plot.append(selection);
  let from = null;
  const left = (event) => event.clientX - plot.getBoundingClientRect().left;
  plot.addEventListener("pointerdown", (event) => {
    if (event.button === 0) from = { x: left(event), frame: view.frameAt(shareAt(event)) };
  });
  plot.addEventListener("pointermove", (event) => {
    if (from === null) return;
    const x = left(event);
    if (selection.hidden && Math.abs(x - from.x) < DRAG_STARTS_AT) return;
    if (selection.hidden) plot.setPointerCapture(event.pointerId);
    selection.hidden = false;
    selection.style.left = `${Math.min(x, from.x)}px`;
    selection.style.width = `${Math.abs(x - from.x)}px`;
  });
  const end = (event) => {
    const dragged = from !== null && !selection.hidden;
    const frames = dragged ? [from.frame, view.frameAt(shareAt(event))].sort((one, other) => one - other) : null;
    from = null;
    selection.hidden = true;
    if (frames && event.type === "pointerup") change(() => view.show(...frames))();
  };
  plot.addEventListener("pointerup", end);
  plot.addEventListener("pointercancel", end);
  plot.addEventListener("dblclick", change(() => view.showAll()));
  plot.addEventListener("keydown", (event) => {
    const acts = { "+": () => view.zoom(0.5, middle()), "-": () => view.zoom(2, middle()), 0: () => view.showAll() };
    if (!(event.key in acts) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    change(acts[event.key])();
  });
  return { update, controls: element("div", { class: "zoom", role: "group", "aria-label": "Frames shown" }, earlier, farther, nearer, later, all, range) };
}
