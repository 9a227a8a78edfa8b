// Data, elements and numbers that every part of the page uses.
"use strict";

const TL = { data: null, views: {} };

// Data packs are scripts: a page from disk may not fetch. The oldest packs are forgotten.
(() => {
  const PACKS = 12;
  const kept = new Map();
  const waiting = new Map();

  TL.receive = (name, data) => {
    if (name === "rows") {
      TL.data = data;
      return;
    }
    kept.set(name, data);
    for (const old of kept.keys()) {
      if (kept.size <= PACKS) break;
      kept.delete(old);
    }
  };

  TL.load = (name) => {
    if (kept.has(name)) return Promise.resolve(kept.get(name));
    if (!waiting.has(name)) {
      waiting.set(name, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = `page/${name}.js`;
        script.onload = () => resolve(kept.get(name));
        script.onerror = () => reject(new Error(`page/${name}.js cannot be read; copy the folder page whole, beside index.html`));
        document.head.append(script);
        script.addEventListener("load", () => script.remove());
      }).finally(() => waiting.delete(name)));
    }
    return waiting.get(name);
  };
})();

// An element. Children that are text are set as text, so that no name can be markup.
TL.h = (tag, attributes = {}, ...children) => TL.fill(document.createElement(tag), attributes, children);
TL.svg = (tag, attributes = {}, ...children) => TL.fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
TL.fill = (element, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
};

TL.put = (section, ...children) => section.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined));

// A number for people; a dash where there is none.
TL.number = (value, digits = 2) => {
  if (value === null || value === undefined || value === "") return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return String(value);
  return value !== 0 && (Math.abs(value) < 0.01 || Math.abs(value) >= 1e5) ? value.toPrecision(2) : value.toFixed(digits);
};

TL.tell = (message) => {
  const place = document.getElementById("trouble");
  place.textContent = message;
  place.hidden = !message;
};

// Value of a column of the list; columns that the run does not have are null.
TL.at = (column, row) => {
  const values = TL.data.columns[column];
  return values === undefined ? null : values[row];
};

TL.rowOf = (id) => {
  if (!TL.rowNumbers) TL.rowNumbers = new Map(TL.data.columns.target_id.map((name, row) => [name, row]));
  return TL.rowNumbers.get(id);
};

// The whole row of the catalogue, by column.
TL.wholeRow = async (row) => {
  const size = TL.data.run.packs.rows;
  const pack = await TL.load(`rows/${Math.floor(row / size)}`);
  const values = pack[row % size];
  return Object.fromEntries(TL.data.facts.filter((fact, k) => k < values.length).map((fact, k) => [fact.name, values[k]]));
};

// Pictures by their number; null for a target without.
TL.picturesOf = async (id, place) => {
  if (place === null || place === undefined) return null;
  const pack = await TL.load(`pictures/${Math.floor(place / TL.data.run.packs.pictures)}`);
  return pack[id];
};

TL.thumb = (place) => {
  const { side, columns, rows } = TL.data.run.thumb;
  const cell = TL.h("span", { class: "thumb" });
  if (place !== null && place !== undefined) {
    const k = place % (columns * rows);
    cell.style.backgroundImage = `url(page/thumbs/${Math.floor(place / (columns * rows))}.jpg)`;
    cell.style.backgroundPosition = `${-side * (k % columns)}px ${-side * Math.floor(k / columns)}px`;
  }
  return cell;
};

TL.meaning = (column) => {
  const fact = TL.data.facts.find((one) => one.name === column);
  return fact ? fact.description : "";
};
