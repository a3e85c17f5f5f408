"use strict";
// One sequence: overlap over time, where each tracker fails, and pictures of the worst moments.

const PLOT = { left: 34, right: 8, top: 8, bottom: 22 };

class SequenceView {
  #panel;
  #report;
  #trackers;
  #neighbour;
  #open = null; // {index, data, frame, smoothing, order, canvas, ...} of the sequence on show

  /** neighbour(index, step): the index of the sequence before or after in the list, or null. */
  constructor(panel, report, trackers, neighbour) {
    this.#panel = panel;
    this.#report = report;
    this.#trackers = trackers;
    this.#neighbour = neighbour;
    trackers.onChange(() => this.#redraw());
    new ResizeObserver(() => this.#drawCanvases()).observe(panel);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#drawCanvases());
  }

  async show(index) {
    const sequence = this.#report.sequences[index];
    const wanted = (this.wanted = {});
    let data;
    try {
      data = await loadSequence(index, sequence.file);
    } catch (error) {
      this.#panel.replaceChildren(this.#head(index), element("p", { role: "alert" }, error.message));
      this.#panel.hidden = false;
      return;
    }
    if (wanted !== this.wanted) return; // another one was asked for meanwhile
    this.#build(index, sequence, data);
  }

  close() {
    this.wanted = null;
    this.#open = null;
    this.#panel.hidden = true;
    this.#panel.replaceChildren();
  }

  #head(index) {
    const sequence = this.#report.sequences[index];
    const go = (step, label) => {
      const target = this.#neighbour(index, step);
      const button = element("button", { type: "button", onclick: () => openSequence(this.#report, target) }, label);
      button.disabled = target === null;
      return button;
    };
    const close = element("button", { type: "button", "aria-label": "close the sequence", onclick: () => openSequence(this.#report, null) }, "close");
    return element("div", { class: "sequence-head" }, element("h3", { id: "sequence-heading", tabindex: "-1" }, sequence.name), element("div", {}, go(-1, "previous"), go(1, "next"), close));
  }

  #build(index, sequence, data) {
    const focusedStep = this.#panel.contains(document.activeElement) ? document.activeElement.textContent : null;
    const canvas = element("canvas");
    const now = element("div", { class: "now" });
    const plot = element("div", { class: "overlap" }, canvas, now);
    const heading = element("p", { class: "quiet" });
    const strips = element("div", { class: "strips" });
    const smoothing = element("select", { onchange: () => this.#redraw() }, ...[1, 5, 25, 101].filter((width) => width < sequence.frames).map((width) =>
      element("option", { value: width }, width === 1 ? "every frame" : `mean of ${width} frames`)));
    if (sequence.frames > 25) smoothing.prepend(element("option", { value: 0, selected: "" }, "by the frames shown"));
    const view = new FrameView(sequence.frames);
    const shareAt = (event) => {
      const box = canvas.getBoundingClientRect();
      return (event.clientX - box.left - PLOT.left) / (box.width - PLOT.left - PLOT.right);
    };
    const zoom = makeZoomable(plot, view, { shareAt, cursor: () => this.#open?.frame ?? null, onchange: () => this.#drawCanvases() });
    const order = element("select", { onchange: () => this.#drawFilm() }, element("option", { value: "worst" }, "worst first"), element("option", { value: "time" }, "in order of time"));
    const film = element("ol", { class: "film" });
    const tags = element("div", { class: "tags" }, ...sequence.attributes.map((attribute) => element("span", {}, attribute)));
    const unfailing = data.overlap.every((bytes) => countLost(bytes) === 0);
    const pictures = data.film
      ? [element("div", { class: "controls" }, element("label", {}, "Order ", order), element("span", { class: "quiet" }, "White: the true box. A picture marks its frame in the plot.")), film]
      : [element("p", { class: "quiet" }, "The frames were not at hand when this report was written.")];
    this.#panel.replaceChildren(
      this.#head(index), tags,
      element("div", { class: "controls" }, element("strong", {}, "Overlap over time"), element("label", {}, "Line ", smoothing), element("span", { class: "quiet" }, "Drag over the plot to see fewer frames."), element("span", { class: "quiet" }, data.overlap[0].includes(NO_TRUTH) ? "Grey: no true box, which counts as a miss." : "")),
      plot, zoom.controls, heading, strips, element("h4", {}, unfailing ? "Frames (no tracker loses the target)" : "Worst moments"), ...pictures);
    this.#panel.hidden = false;
    this.#open = { sequence, data, canvas, now, heading, strips, smoothing, order, film, view, zoom, frame: null, pinned: null };
    this.#open.slider = makeSlider(plot, {
      label: `Overlap over time, ${sequence.name}`,
      count: sequence.frames,
      indexAt: (event) => view.frameAt(shareAt(event)),
      choose: (frame) => {
        if (!this.#open) return;
        this.#open.frame = frame ?? this.#open.pinned;
        if (frame !== null && view.reveal(frame)) {
          zoom.update();
          this.#drawPlot();
        }
        this.#drawCursor();
      },
      describe: (frame) => `frame ${frame}: ` + this.#trackers.shown.map((tracker) => `${this.#trackers.names[tracker]} ${this.#overlapText(data, tracker, frame)}`).join(", "),
    });
    this.#redraw();
    const again = [...this.#panel.querySelectorAll(".sequence-head button")].find((button) => button.textContent === focusedStep && !button.disabled);
    (again ?? this.#panel.querySelector("h3")).focus({ preventScroll: true });
  }

  #overlapText(data, tracker, frame) {
    const byte = data.overlap[tracker][frame];
    return byte === NO_TRUTH ? "–" : (byte / OVERLAP_STEPS).toFixed(2);
  }

  #redraw() {
    if (!this.#open) return;
    this.#drawStrips();
    this.#drawFilm();
    this.#drawCanvases();
  }

  #drawCanvases() {
    if (!this.#open) return;
    this.#drawPlot();
    this.#drawCursor();
    for (const canvas of this.#open.strips.querySelectorAll("canvas")) this.#drawStrip(canvas);
  }

  /** Mark the chosen frame in the plot and show each tracker's overlap on it, or its scores when none is chosen. */
  #drawCursor() {
    const { canvas, data, sequence, frame, heading, now, strips, view } = this.#open;
    now.hidden = frame === null || frame < view.start || frame >= view.stop;
    if (!now.hidden) now.style.left = `${PLOT.left + view.share(frame) * (canvas.clientWidth - PLOT.left - PLOT.right)}px`;
    heading.textContent = frame === null ? `AUC in percent, and frames of ${sequence.frames} with an overlap below one half` : `Overlap on frame ${frame} of ${sequence.frames}`;
    for (const text of strips.querySelectorAll(".scores")) {
      const tracker = Number(text.dataset.tracker);
      text.textContent = frame === null ? `AUC ${percent(sequence.scores[tracker].auc)} · ${countLost(data.overlap[tracker])} lost` : this.#overlapText(data, tracker, frame);
    }
  }

  #drawPlot() {
    const { canvas, data, smoothing, view } = this.#open;
    const [context, width, height] = prepareCanvas(canvas);
    const style = getComputedStyle(canvas);
    const colour = (name) => style.getPropertyValue(name);
    const [inner, base] = [width - PLOT.left - PLOT.right, height - PLOT.bottom];
    const x = (index) => PLOT.left + view.share(index) * inner;
    const y = (overlap) => base - overlap * (base - PLOT.top);

    context.save();
    context.beginPath();
    context.rect(PLOT.left, 0, inner, base + 1);
    context.clip();
    context.fillStyle = colour("--gap");
    forEachRun(data.overlap[0], (byte) => byte === NO_TRUTH, (start, stop) => context.fillRect(x(start - 0.5), PLOT.top, Math.max(1, x(stop - 0.5) - x(start - 0.5)), base - PLOT.top));
    context.restore();
    context.font = `11px ${style.fontFamily}`;
    context.lineWidth = 1;
    for (const overlap of [0, 0.25, 0.5, 0.75, 1]) {
      context.strokeStyle = colour(overlap ? "--grid" : "--quiet");
      context.beginPath();
      context.moveTo(PLOT.left, y(overlap));
      context.lineTo(width - PLOT.right, y(overlap));
      context.stroke();
      context.fillStyle = colour("--quiet");
      context.textAlign = "right";
      context.fillText(overlap.toFixed(2), PLOT.left - 5, y(overlap) + 4);
    }
    context.textAlign = "center";
    for (const index of ticks(view.start, view.stop, Math.floor(inner / 70))) context.fillText(String(index), x(index), height - 6);
    context.beginPath();
    context.rect(PLOT.left - 1, 0, inner + 2, base + 2);
    context.clip();
    context.lineWidth = 1.5;
    context.lineJoin = "round";
    const window = Number(smoothing.value) || (view.length > 3000 ? 25 : view.length > 600 ? 5 : 1);
    for (const tracker of this.#trackers.shown) {
      context.strokeStyle = colour(`--tracker-${tracker % NUM_COLOURS}`);
      context.setLineDash(this.#trackers.dash(tracker).split(" ").filter(Boolean).map(Number));
      // One frame more on either side, so that lines reach the border.
      strokeOverlap(context, smooth(data.overlap[tracker], window), Math.max(0, view.start - 1), Math.min(view.count, view.stop + 1), x, y);
    }
    context.setLineDash([]);
  }

  #drawStrips() {
    const { strips, sequence, data } = this.#open;
    strips.replaceChildren(...this.#trackers.shown.map((tracker) => {
      const title = `${this.#trackers.names[tracker]}: overlap below one half on ${countLost(data.overlap[tracker])} of ${sequence.frames} frames`;
      return element("div", { class: "strip", title },
        element("span", { class: "named" }, this.#trackers.swatch(tracker), element("span", {}, this.#trackers.names[tracker])),
        element("canvas", { "data-tracker": tracker, role: "img", "aria-label": title }),
        element("span", { class: "scores", "data-tracker": tracker }));
    }));
  }

  /** Draw a tracker's overlap as a strip of colour: full where it holds the target, empty where it is lost. */
  #drawStrip(canvas) {
    const { data, sequence, view } = this.#open;
    const [context, width, height] = prepareCanvas(canvas);
    const style = getComputedStyle(canvas);
    const bytes = data.overlap[Number(canvas.dataset.tracker)];
    const [full, none] = [style.getPropertyValue(`--tracker-${canvas.dataset.tracker % NUM_COLOURS}`), style.getPropertyValue("--gap")];
    context.fillStyle = style.getPropertyValue("--grid");
    context.fillRect(0, 0, width, height);
    const columns = Math.ceil(width);
    for (let column = 0; column < columns; column++) {
      const start = Math.floor((column * sequence.frames) / columns);
      const stop = Math.max(start + 1, Math.floor(((column + 1) * sequence.frames) / columns));
      let [sum, number] = [0, 0];
      for (let frame = start; frame < stop; frame++) {
        if (bytes[frame] !== NO_TRUTH) [sum, number] = [sum + bytes[frame], number + 1];
      }
      const inView = stop > view.start && start < view.stop; // the rest of the video stays, but faint
      context.globalAlpha = (number ? sum / number / OVERLAP_STEPS : 1) * (inView ? 1 : 0.3);
      context.fillStyle = number ? full : none;
      context.fillRect(column, number ? 0 : height / 3, 1, number ? height : height / 3);
    }
  }

  #drawFilm() {
    const { data, film, order } = this.#open;
    if (!data.film) return;
    const shots = order.value === "time" ? [...data.film.shots].sort((one, other) => one.frame - other.frame) : data.film.shots;
    film.replaceChildren(...shots.map((shot) => this.#drawShot(shot)));
  }

  #drawShot(shot) {
    const { width, height } = this.#open.data.film;
    const view = graphic("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, graphic("image", { href: shot.image, width, height }));
    const boxes = [];
    for (const tracker of this.#trackers.shown) boxes.push([shot.boxes[tracker], this.#trackers.colour(tracker), this.#trackers.dash(tracker)]);
    if (shot.truth) view.append(boxGraphic(shot.truth, "rim true-rim"), boxGraphic(shot.truth, "box true"));
    for (const [box] of boxes) view.append(boxGraphic(box, "rim"));
    for (const [box, colour, dash] of boxes) {
      const drawn = boxGraphic(box, "box");
      drawn.style.stroke = colour;
      drawn.setAttribute("stroke-dasharray", dash);
      view.append(drawn);
    }
    const caption = element("span", { class: "caption" }, this.#captionOf(shot));
    if (shot.moment) {
      const { tracker, start, stop } = shot.moment;
      const when = stop - start === 1 ? `frame ${start}` : `frames ${start} to ${stop - 1}`;
      caption.append(element("span", { class: "quiet" }, `${this.#trackers.names[tracker]}: lost on ${when}`));
    }
    const pinned = this.#open.pinned === shot.frame;
    const pin = () => {
      this.#open.pinned = pinned ? null : shot.frame;
      this.#open.slider.set(this.#open.pinned);
      this.#drawFilm();
      this.#open.film.querySelector(`[data-frame="${shot.frame}"]`).focus({ preventScroll: true });
    };
    return element("li", {}, element("button", { type: "button", "aria-pressed": pinned, "data-frame": shot.frame, onclick: pin }, view, caption));
  }

  #captionOf(shot) {
    if (!shot.truth) return `frame ${shot.frame}, no true box`;
    const lost = this.#trackers.shown.filter((tracker) => isLost(this.#open.data.overlap[tracker][shot.frame]));
    if (!lost.length) return `frame ${shot.frame}`;
    return `frame ${shot.frame}, ${lost.length} of ${this.#trackers.shown.length} lost`;
  }
}

function boxGraphic([x, y, width, height], name) {
  return graphic("rect", { x, y, width, height, class: name });
}
