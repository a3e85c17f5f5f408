"use strict";
// The overview: a row per tracker, and below them what others have published, which was not measured here.

const WRITE = {
  share: percent,
  speed,
  interval: (ends) => (ends ? `${percent(ends[0])} to ${percent(ends[1])}` : "–"),
};

function drawOverview(report, trackers) {
  const table = new SortableTable(document.getElementById("overview-table"), "Overview", { key: "auc", descending: true });
  const isOurs = (row) => typeof row === "number"; // a tracker's index; a published row is what the report says of it
  const of = (row) => (isOurs(row) ? report.trackers[row] : row);
  table.rows = [...report.trackers.keys()];
  table.rowClass = (index) => (trackers.isShown(index) ? "" : "off");
  table.columns = [
    { key: "name", label: "Tracker", value: (row) => of(row).name, cell: (row) => (isOurs(row) ? element("span", { class: "named" }, trackers.swatch(row), trackers.names[row]) : publishedName(row)) },
    ...report.columns.map(({ key, label, kind }) => ({
      key,
      label,
      title: kind === "interval" ? "where the AUC would lie with other sequences of the same kind; sorts by the lower end" : null,
      value: (row) => (kind === "interval" ? (of(row).numbers[key]?.[0] ?? null) : of(row).numbers[key]),
      cell: (row) => WRITE[kind](of(row).numbers[key] ?? null),
      best: kind !== "interval",
    })),
  ];
  const choice = document.getElementById("show-published");
  const update = () => {
    table.extras = choice.checked ? report.published.map(({ mark, rows }) => ({ heading: mark, rows, rowClass: "published" })) : [];
    table.draw();
  };
  document.getElementById("published-choice").hidden = report.published.length === 0;
  choice.addEventListener("change", update);
  trackers.onChange(() => table.draw());
  update();
}

function publishedName({ name, device }) {
  return element("span", {}, name, device ? element("span", { class: "quiet" }, ` (speed: ${device})`) : "");
}

/** Say which sequences were left out, and which tracker lacks them. */
function drawMissing(report) {
  const place = document.getElementById("missing");
  place.hidden = report.left_out.length === 0;
  if (place.hidden) return;
  const number = report.left_out.length;
  const title = `Incomplete: ${number} ${number === 1 ? "sequence is" : "sequences are"} left out for all, because some tracker lacks ${number === 1 ? "it" : "them"}`;
  const lists = report.missing.map(({ tracker, sequences }) => element("li", {}, `${tracker} lacks ${sequences.length}: ${sequences.join(", ")}`));
  place.append(element("summary", {}, title), element("ul", {}, ...lists));
  place.open = report.missing.reduce((sum, { sequences }) => sum + sequences.length, 0) <= 10;
}
