"use strict";
// The overlap of every frame of a sequence: loading it from the file beside this page, smoothing it, drawing it.

const NO_TRUTH = 255; // the byte of a frame without a true box; others are the overlap times OVERLAP_STEPS
const OVERLAP_STEPS = 250;

const loaded = new Map(); // index -> {resolve, promise}

/** Called by the data files beside this page. */
function addSequence(index, data) {
  data.overlap = data.overlap.map((text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0)));
  loaded.get(index).resolve(data);
}

/** Load a sequence's data file by a script tag: a page opened from disk may not fetch. */
function loadSequence(index, file) {
  if (!loaded.has(index)) {
    const entry = {};
    entry.promise = new Promise((resolve, reject) => {
      entry.resolve = resolve;
      const failed = () => {
        loaded.delete(index);
        reject(new Error(`cannot read ${file}: keep this page and the folder "sequences" together`));
      };
      document.head.append(element("script", { src: file, onerror: failed }));
    });
    loaded.set(index, entry);
  }
  return loaded.get(index).promise;
}

function isLost(byte) {
  return byte < OVERLAP_STEPS / 2;
}

function countLost(bytes) {
  return bytes.reduce((count, byte) => count + isLost(byte), 0);
}

/** Return about `wanted` round numbers from `start` below `stop`. */
function ticks(start, stop, wanted) {
  const count = stop - start;
  const coarse = 10 ** Math.floor(Math.log10(count / Math.max(wanted, 1)));
  const step = Math.max(1, coarse * [1, 2, 5, 10].find((factor) => (coarse * factor * Math.max(wanted, 1)) >= count));
  const first = Math.ceil(start / step);
  return Array.from({ length: Math.max(0, Math.ceil(stop / step) - first) }, (_, index) => (first + index) * step);
}

/** Return a canvas's context in CSS pixels, its width and its height, cleared. */
function prepareCanvas(canvas) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  return [context, width, height];
}

function forEachRun(bytes, holds, visit) {
  let start = null;
  for (let index = 0; index <= bytes.length; index++) {
    const inside = index < bytes.length && holds(bytes[index]);
    if (inside && start === null) start = index;
    if (!inside && start !== null) {
      visit(start, index);
      start = null;
    }
  }
}

/** Return overlaps, each the mean over a window of frames that have a true box; nan where the frame has none. */
function smooth(bytes, window) {
  const [sums, numbers] = [new Float64Array(bytes.length + 1), new Uint32Array(bytes.length + 1)];
  for (let index = 0; index < bytes.length; index++) {
    const known = bytes[index] !== NO_TRUTH;
    sums[index + 1] = sums[index] + (known ? bytes[index] : 0);
    numbers[index + 1] = numbers[index] + (known ? 1 : 0);
  }
  const reach = Math.floor(window / 2);
  return Float32Array.from(bytes, (byte, index) => {
    if (byte === NO_TRUTH) return NaN;
    const [start, stop] = [Math.max(0, index - reach), Math.min(bytes.length, index + reach + 1)];
    return (sums[stop] - sums[start]) / (numbers[stop] - numbers[start]) / OVERLAP_STEPS;
  });
}

/** Draw the overlaps of the frames start ... stop-1; lines break where a frame has none. */
function strokeOverlap(context, overlaps, start, stop, x, y) {
  context.beginPath();
  let inLine = false;
  for (let index = start; index < stop; index++) {
    const known = !Number.isNaN(overlaps[index]);
    if (known && inLine) context.lineTo(x(index), y(overlaps[index]));
    else if (known) context.moveTo(x(index), y(overlaps[index]));
    inLine = known;
  }
  context.stroke();
}
