"use strict";
// Success and precision curves: one line per tracker, values under the cursor.

const CURVES = { width: 420, height: 270, left: 38, right: 10, top: 10, bottom: 36 };

/** plot: {title, label, thresholds, digits, read: index of the threshold the score is read at or null, curves, scores} */
function drawCurves(plot, trackers) {
  const { width, height, left, right, top, bottom } = CURVES;
  const [first, last] = [plot.thresholds[0], plot.thresholds.at(-1)];
  const x = (threshold) => left + ((threshold - first) / (last - first)) * (width - left - right);
  const y = (share) => top + (1 - share) * (height - top - bottom);

  const svg = graphic("svg", { viewBox: `0 0 ${width} ${height}` });
  for (const share of [0, 0.2, 0.4, 0.6, 0.8, 1]) {
    svg.append(graphic("line", { class: share ? "grid" : "axis", x1: left, x2: width - right, y1: y(share), y2: y(share) }));
    svg.append(graphic("text", { x: left - 6, y: y(share) + 4, "text-anchor": "end" }, (100 * share).toFixed(0)));
  }
  for (let tick = 0; tick <= 5; tick++) {
    const threshold = first + ((last - first) * tick) / 5;
    svg.append(graphic("text", { x: x(threshold), y: height - bottom + 16, "text-anchor": "middle" }, String(Number(threshold.toFixed(2)))));
  }
  svg.append(graphic("text", { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, plot.label));
  if (plot.read !== null) {
    const at = x(plot.thresholds[plot.read]);
    svg.append(graphic("line", { class: "mark", x1: at, x2: at, y1: top, y2: y(0) }));
  }

  const lines = plot.curves.map((curve, index) => {
    const points = curve.map((share, threshold) => `${x(plot.thresholds[threshold]).toFixed(1)},${y(share).toFixed(1)}`);
    const line = graphic("polyline", { class: "curve", points: points.join(" "), "stroke-dasharray": trackers.dash(index) });
    line.style.stroke = trackers.colour(index);
    return line;
  });
  const cursor = graphic("line", { class: "cursor", y1: top, y2: y(0), visibility: "hidden" });
  svg.append(...lines, cursor);

  const heading = element("p", { class: "quiet" });
  const readout = element("ul", { class: "readout" });
  let chosen = null;
  const value = (tracker) => (chosen === null ? plot.scores[tracker] : plot.curves[tracker][chosen]);
  const at = (index) => `${plot.label} ${plot.thresholds[index].toFixed(plot.digits)}`;
  const update = () => {
    lines.forEach((line, index) => line.setAttribute("visibility", trackers.isShown(index) ? "visible" : "hidden"));
    cursor.setAttribute("visibility", chosen === null ? "hidden" : "visible");
    if (chosen !== null) {
      cursor.setAttribute("x1", x(plot.thresholds[chosen]));
      cursor.setAttribute("x2", x(plot.thresholds[chosen]));
    }
    heading.textContent = chosen === null ? `${plot.measure}, percent` : `${at(chosen)}: share of frames, percent`;
    const ranked = trackers.shown.sort((one, other) => value(other) - value(one));
    readout.replaceChildren(...ranked.map((index) => readoutItem(trackers, index, percent(value(index)))));
  };
  makeSlider(svg, {
    label: `${plot.title} curve`,
    count: plot.thresholds.length,
    indexAt: (event) => {
      const box = svg.getBoundingClientRect();
      const inside = (((event.clientX - box.left) / box.width) * width - left) / (width - left - right);
      return Math.round(inside * (plot.thresholds.length - 1));
    },
    choose: (index) => {
      chosen = index;
      update();
    },
    describe: (index) => `${at(index)}: ` + trackers.shown.map((tracker) => `${trackers.names[tracker]} ${percent(plot.curves[tracker][index])}`).join(", "),
  });
  trackers.onChange(update);
  update();
  return element("figure", { class: "plot" }, element("h3", {}, plot.title), svg, heading, readout);
}

function readoutItem(trackers, index, text) {
  return element("li", {}, trackers.swatch(index), element("b", {}, text), element("span", { title: trackers.names[index] }, trackers.names[index]));
}
