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

/** Return about `wanted` round numbers from 0 below `count`. */
function ticks(count, wanted) {
  const coarse = 10 ** Math.floor(Math.log10(count / Math.max(wanted, 1)));
  const step = Math.max(1, coarse * [1, 2, 5, 10].find((factor) => (coarse * factor * Math.max(wanted, 1)) >= count));
  return Array.from({ length: Math.ceil(count / step) }, (_, index) => index * step);
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

/** Return overlaps, each the mean over a window of frames that have a true box; null where the frame has none. */
function smooth(bytes, window) {
  const [sums, numbers] = [new Float64Array(bytes.length + 1), new Uint32Array(bytes.length + 1)];
  bytes.forEach((byte, index) => {
    sums[index + 1] = sums[index] + (byte === NO_TRUTH ? 0 : byte);
    numbers[index + 1] = numbers[index] + (byte === NO_TRUTH ? 0 : 1);
  });
  const reach = Math.floor(window / 2);
  return Array.from(bytes, (byte, index) => {
    if (byte === NO_TRUTH) return null;
    const [start, stop] = [Math.max(0, index - reach), Math.min(bytes.length, index + reach + 1)];
    return (sums[stop] - sums[start]) / (numbers[stop] - numbers[start]) / OVERLAP_STEPS;
  });
}

function strokeOverlap(context, overlaps, x, y) {
  context.beginPath();
  let inLine = false;
  overlaps.forEach((overlap, index) => {
    if (overlap !== null && inLine) context.lineTo(x(index), y(overlap));
    else if (overlap !== null) context.moveTo(x(index), y(overlap));
    inLine = overlap !== null;
  });
  context.stroke();
}
