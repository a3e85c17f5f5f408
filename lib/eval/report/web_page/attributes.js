"use strict";
// The mean score of every tracker over the sequences that carry an attribute.

const MEASURES = [
  { key: "auc", label: "AUC" },
  { key: "precision", label: "P" },
  { key: "norm_precision", label: "P_norm" },
];

function measureSelect(select, onchange) {
  select.append(...MEASURES.map(({ label }, index) => element("option", { value: index }, label)));
  select.addEventListener("change", onchange);
}

/** List the attributes of all sequences, in the order in which they are met. */
function listAttributes(sequences) {
  return [...new Set(sequences.flatMap((sequence) => sequence.attributes))];
}

function drawAttributes(report, trackers, openAttribute) {
  const attributes = listAttributes(report.sequences);
  const section = document.getElementById("attributes");
  section.hidden = attributes.length === 0;
  if (section.hidden) return;
  const select = document.getElementById("attribute-measure");
  const update = () => {
    const measure = MEASURES[select.value].key;
    document.getElementById("attribute-cards").replaceChildren(...attributes.map((attribute) => {
      const carrying = report.sequences.filter((sequence) => sequence.attributes.includes(attribute));
      const values = new Map(trackers.shown.map((index) => [index, mean(carrying.map((sequence) => sequence.scores[index][measure]))]));
      const best = Math.max(...values.values());
      const bars = [...values].map(([index, value]) => attributeBar(trackers, index, value, values.size > 1 && value === best));
      const name = element("button", { type: "button", title: "list these sequences", onclick: () => openAttribute(attribute) }, attribute);
      const number = element("span", { class: "quiet" }, `${carrying.length} ${carrying.length === 1 ? "sequence" : "sequences"}`);
      return element("div", { class: "card" }, element("h3", {}, name, number), ...bars);
    }));
  };
  measureSelect(select, update);
  trackers.onChange(update);
  update();
}

function attributeBar(trackers, index, value, best) {
  const filled = element("span");
  filled.style.width = `${100 * value}%`;
  filled.style.background = trackers.colour(index);
  const name = trackers.names[index];
  const bar = element("div", { class: "bar", title: name }, element("span", { class: "label" }, name), element("span", { class: "track" }, filled), element("b", {}, percent(value)));
  bar.classList.toggle("best", best);
  return bar;
}
