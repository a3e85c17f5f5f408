"use strict";
// Puts the page together.

function start() {
  const report = JSON.parse(document.getElementById("report-data").textContent);
  const trackers = new Trackers(report.trackers.map(({ name }) => name));
  document.title = report.title;
  document.getElementById("title").textContent = report.title;
  document.getElementById("description").textContent = report.description;
  const remarks = document.getElementById("remarks");
  remarks.hidden = report.remarks.length === 0;
  remarks.append(...report.remarks.map((remark) => element("li", {}, remark)));
  drawMissing(report);
  drawChips(document.getElementById("trackers"), trackers);
  const bar = document.querySelector(".trackers"); // it stays in view, so what is scrolled to must stop below it
  new ResizeObserver(() => (document.documentElement.style.scrollPaddingTop = `${bar.offsetHeight + 8}px`)).observe(bar);
  drawOverview(report, trackers);
  document.getElementById("curve-plots").append(...report.plots.map((plot) => drawCurves(plot, trackers)));
  const list = new SequenceList(report, trackers);
  drawAttributes(report, trackers, (attribute) => list.filterByAttribute(attribute));
  const view = new SequenceView(document.getElementById("sequence"), report, trackers, (index, step) => list.neighbour(index, step));
  const follow = () => {
    const index = indexInAddress(report);
    list.markOpen(index);
    if (index === null) view.close();
    else view.show(index).then(() => document.getElementById("sequence").scrollIntoView({ block: "start" }));
  };
  addEventListener("hashchange", follow);
  if (indexInAddress(report) !== null) follow();
}

class SequenceList {
  #report;
  #trackers;
  #table;
  #open = null;
  #filter = document.getElementById("sequence-filter");
  #attribute = document.getElementById("sequence-attribute");
  #measure = document.getElementById("sequence-measure");

  constructor(report, trackers) {
    this.#report = report;
    this.#trackers = trackers;
    this.#table = new SortableTable(document.getElementById("sequence-table"), "Sequences", { key: "mean", descending: false });
    this.#table.rowClass = (index) => (index === this.#open ? "open" : "");
    const attributes = listAttributes(report.sequences);
    this.#attribute.append(element("option", { value: "" }, "any"), ...attributes.map((attribute) => element("option", { value: attribute }, attribute)));
    document.getElementById("sequence-attribute-label").hidden = attributes.length === 0;
    measureSelect(this.#measure, () => this.#draw());
    this.#filter.addEventListener("input", () => this.#draw());
    this.#attribute.addEventListener("change", () => this.#draw());
    trackers.onChange(() => this.#draw());
    this.#draw();
  }

  filterByAttribute(attribute) {
    this.#attribute.value = attribute;
    this.#draw();
    document.getElementById("sequences").scrollIntoView();
  }

  markOpen(index) {
    this.#open = index;
    this.#table.draw();
  }

  neighbour(index, step) {
    const order = this.#table.sorted;
    const place = order.indexOf(index);
    return place < 0 ? null : (order[place + step] ?? null);
  }

  #draw() {
    const { sequences } = this.#report;
    const text = this.#filter.value.trim().toLowerCase();
    const measure = MEASURES[this.#measure.value].key;
    const shown = this.#trackers.shown;
    const scores = (index) => shown.map((tracker) => sequences[index].scores[tracker][measure]);
    this.#table.rows = [...sequences.keys()].filter((index) =>
      sequences[index].name.toLowerCase().includes(text) && (!this.#attribute.value || sequences[index].attributes.includes(this.#attribute.value)));
    const share = (key, label, value, title) => ({ key, label, title, value, cell: (index) => percent(value(index)), heat: true });
    this.#table.columns = [
      { key: "name", label: "Sequence", value: (index) => sequences[index].name, cell: (index) => this.#opener(index) },
      { key: "frames", label: "Frames", value: (index) => sequences[index].frames },
      ...(shown.length > 1 ? [
        share("mean", "Mean", (index) => mean(scores(index)), "of the trackers shown"),
        { ...share("spread", "Spread", (index) => Math.max(...scores(index)) - Math.min(...scores(index)), "best minus worst of the trackers shown"), heat: false },
      ] : []),
      ...shown.map((tracker) => share(shown.length > 1 ? `tracker ${tracker}` : "mean", this.#trackers.names[tracker], (index) => sequences[index].scores[tracker][measure])),
    ];
    this.#table.draw();
    const number = this.#table.rows.length;
    document.getElementById("sequence-count").textContent = number === sequences.length ? `${number} sequences` : `${number} of ${sequences.length} sequences`;
  }

  #opener(index) {
    return element("button", { type: "button", onclick: () => openSequence(this.#report, index) }, this.#report.sequences[index].name);
  }
}

/** Open a sequence, or none, by the page's address, so that "back" works and a view can be bookmarked. */
function openSequence(report, index) {
  location.hash = index === null ? "#sequences" : `#sequence/${encodeURIComponent(report.sequences[index].name)}`;
}

function indexInAddress(report) {
  const [kind, ...rest] = location.hash.slice(1).split("/");
  if (kind !== "sequence") return null;
  let name;
  try {
    name = decodeURIComponent(rest.join("/"));
  } catch {
    return null; // not an address that this page wrote
  }
  const index = report.sequences.findIndex((sequence) => sequence.name === name);
  return index < 0 ? null : index;
}

start();
