"use strict";
// A table that sorts by any column; its headers are buttons.

/**
 * extras: further groups of rows below the others, each under its heading: {heading, rows, rowClass}. They sort alike,
 * but never among the others, and are never the best of a column.
 * columns: {key, label, title, value(row), cell(row) -> node or text, best: mark the highest, heat: shade by the value}
 * The values of the column `name` are texts, of the others numbers or null.
 * A column keeps its sorting when the columns change, by its key.
 */
class SortableTable {
  #container;
  #sorting;
  #drawn = new Map(); // row -> its line: sorting moves lines, it need not make them anew

  constructor(container, label, sorting) {
    this.#container = container;
    this.label = label;
    this.#sorting = sorting;
    this.columns = [];
    this.rows = [];
    this.extras = [];
    this.rowClass = () => "";
  }

  /** The rows as they are sorted now. */
  get sorted() {
    return this.#sort(this.rows);
  }

  #sort(rows) {
    const column = this.columns.find(({ key }) => key === this.#sorting.key) ?? this.columns[0];
    const sign = this.#sorting.descending ? -1 : 1;
    const order = (first, second) => {
      const [a, b] = [column.value(first), column.value(second)];
      if (a === null || b === null) return (a === null) - (b === null); // what is not known comes last either way
      return sign * (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
    };
    return [...rows].sort(order);
  }

  /** Draw the table anew, when its columns, its rows or what they say have changed. */
  draw() {
    this.#drawn.clear();
    this.#arrange();
  }

  #arrange() {
    const best = this.columns.map((column) => (column.best && this.rows.length > 1 ? Math.max(...this.rows.map((row) => column.value(row) ?? -1)) : null));
    const head = element("tr", {}, ...this.columns.map((column) => this.#header(column)));
    const body = this.sorted.map((row) => this.#row(row, this.rowClass(row), best));
    const extras = this.extras.map(({ heading, rows, rowClass }) => {
      const line = element("tr", { class: "group" }, element("th", { colspan: this.columns.length, scope: "rowgroup" }, element("span", {}, heading)));
      return element("tbody", {}, line, ...this.#sort(rows).map((row) => this.#row(row, rowClass, [])));
    });
    const table = element("table", { "aria-label": this.label }, element("thead", {}, head), element("tbody", {}, ...body), ...extras);
    const before = this.#container.firstElementChild;
    const scrolled = before ? [before.scrollLeft, before.scrollTop] : [0, 0];
    const region = element("div", { class: "scroll", role: "region", "aria-label": this.label, tabindex: "0" }, table);
    this.#container.replaceChildren(region);
    [region.scrollLeft, region.scrollTop] = scrolled;
  }

  #header(column) {
    const active = column.key === this.#sorting.key;
    const sort = () => {
      this.#sorting = { key: column.key, descending: active ? !this.#sorting.descending : column.key !== "name" };
      this.#arrange();
      this.#container.querySelector(`th[aria-sort] button`).focus();
    };
    const direction = active ? (this.#sorting.descending ? "descending" : "ascending") : null;
    return element("th", { scope: "col", "aria-sort": direction, title: column.title }, element("button", { type: "button", onclick: sort }, column.label));
  }

  #row(row, rowClass, best) {
    if (!this.#drawn.has(row)) {
      this.#drawn.set(row, element("tr", { class: rowClass || null }, ...this.columns.map((column, index) => this.#cell(column, row, index, best[index] ?? null))));
    }
    return this.#drawn.get(row);
  }

  #cell(column, row, index, best) {
    const value = column.value(row);
    const content = column.cell ? column.cell(row) : String(value);
    if (index === 0) return element("th", { scope: "row" }, content);
    const cell = element("td", {}, content);
    cell.classList.toggle("best", best !== null && value === best);
    if (column.heat && value !== null) {
      cell.classList.add("heat");
      cell.style.setProperty("--value", value);
    }
    return cell;
  }
}
