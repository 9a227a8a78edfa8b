// The list of all targets: filtered, sorted, and drawn only where it is looked at.
"use strict";

(() => {
  const HEIGHT = 60;
  const MARGIN = 6;
  const state = { query: "", status: "", only: "all", column: "", low: "", high: "", sort: "rank", descending: false };
  let shown = [];
  let selected = 0;
  let names = null;
  let box, space, count, cells;

  const { h, number, at } = TL;

  const numeric = () => Object.keys(TL.data.columns).filter((name) => {
    const values = TL.data.columns[name];
    return name !== "picture" && name !== "listed" && values.some((value) => typeof value === "number");
  });

  function filter() {
    const columns = TL.data.columns;
    const query = state.query.trim().toLowerCase();
    if (query && !names) names = columns.target_id.map((id, row) => `${at("name", row) ?? ""}\n${id}`.toLowerCase());
    const values = state.column ? columns[state.column] : null;
    const low = state.low === "" ? -Infinity : Number(state.low);
    const high = state.high === "" ? Infinity : Number(state.high);
    const grades = TL.myGrades();
    const wanted = {
      all: () => true,
      pictures: (row) => columns.picture[row] !== null,
      listed: (row) => at("listed", row) === true,
      graded: (row) => grades.has(columns.target_id[row]),
      open: (row) => columns.picture[row] !== null && !grades.has(columns.target_id[row]),
    }[state.only];
    shown = [];
    for (let row = 0; row < columns.rank.length; row += 1) {
      if (state.status && columns.status[row] !== state.status) continue;
      if (query && !names[row].includes(query)) continue;
      if (values && !(values[row] !== null && values[row] >= low && values[row] <= high)) continue;
      if (wanted(row)) shown.push(row);
    }
    sort();
    selected = 0;
    box.scrollTop = 0;
    draw();
  }

  function sort() {
    const values = TL.data.columns[state.sort];
    const sign = state.descending ? -1 : 1;
    // what has no value comes last either way
    shown.sort((a, b) => {
      const [one, other] = [values[a], values[b]];
      if (one === other) return a - b;
      if (one === null) return 1;
      if (other === null) return -1;
      return one < other ? -sign : sign;
    });
  }

  function draw() {
    space.style.height = `${HEIGHT * shown.length}px`;
    const first = Math.max(0, Math.floor(box.scrollTop / HEIGHT) - MARGIN);
    const last = Math.min(shown.length, Math.ceil((box.scrollTop + box.clientHeight) / HEIGHT) + MARGIN);
    const grades = TL.myGrades();
    const parts = [];
    for (let k = first; k < last; k += 1) parts.push(line(k, grades));
    space.replaceChildren(...parts);
    const listed = TL.data.columns.rank.length;
    count.textContent = `${shown.length} of ${listed} targets${TL.data.run.targets > listed ? `, the best of ${TL.data.run.targets}` : ""}`;
    if (shown.length) box.setAttribute("aria-activedescendant", `row-${selected}`);
    else box.removeAttribute("aria-activedescendant");
  }

  function line(k, grades) {
    const row = shown[k];
    const listed = at("listed", row) === true;
    return h("div", {
      class: "row", role: "option", id: `row-${k}`, "aria-selected": String(k === selected), "aria-posinset": k + 1,
      "aria-setsize": shown.length, style: `top:${HEIGHT * k}px`, onclick: () => open(k),
    },
    TL.thumb(at("picture", row)),
    h("span", { class: "rank num" }, number(at("rank", row))),
    h("span", { class: "name" }, at("name", row) || "(no name)", h("small", {}, at("target_id", row))),
    cells.map((name, n) => h("span", { class: `cell num${n === 0 ? " main" : ""}` }, number(at(name, row), name === "z" ? 3 : 2))),
    h("span", { class: `status${listed ? " listed" : ""}` }, listed ? "on the list" : at("status", row)),
    h("span", { class: "mine" }, grades.get(at("target_id", row)) ?? ""));
  }

  function open(k) {
    selected = k;
    draw();
    location.hash = `c/${encodeURIComponent(at("target_id", shown[k]))}`;
  }

  function move(to) {
    if (!shown.length) return;
    selected = Math.max(0, Math.min(shown.length - 1, to));
    const top = HEIGHT * selected;
    if (top < box.scrollTop) box.scrollTop = top;
    if (top + HEIGHT > box.scrollTop + box.clientHeight) box.scrollTop = top + HEIGHT - box.clientHeight;
    draw();
  }

  function build() {
    const section = document.getElementById("view-list");
    const columns = numeric();
    const main = TL.data.scores.filter((name) => name in TL.data.columns);
    cells = [...main.slice(0, 1), ...(TL.data.columns.probability ? ["probability"] : []), ...main.slice(1, 4), "z", "n_arcs"];
    cells = cells.filter((name) => name in TL.data.columns);
    section.style.setProperty("--cells", `repeat(${cells.length}, minmax(3.4em, 1fr))`);
    const change = (key) => (event) => {
      state[key] = event.target.value;
      filter();
    };
    const choice = (key, options) => h("select", { id: `list-${key}`, onchange: change(key) }, options.map(([value, text]) => h("option", { value }, text)));
    const statuses = [...new Set(TL.data.columns.status)];
    const onlys = [["all", "all targets"], ["pictures", "with pictures"]];
    if (TL.data.columns.listed) onlys.push(["listed", "on the list of candidates"]);
    onlys.push(["graded", "graded by me"], ["open", "not graded by me"]);
    count = h("p", { class: "small", role: "status" });
    space = h("div", { class: "space", role: "presentation" });
    box = h("div", { class: "rows", role: "listbox", tabindex: 0, "aria-label": "Targets", id: "rows" }, space);
    box.addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
    box.addEventListener("keydown", (event) => {
      const page = Math.max(1, Math.floor(box.clientHeight / HEIGHT) - 1);
      const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -shown.length, End: shown.length };
      if (event.key in steps) move(selected + steps[event.key]);
      else if (event.key === "Enter" && shown.length) open(selected);
      else return;
      event.preventDefault();
    });
    new ResizeObserver(() => draw()).observe(box);
    const order = h("button", { type: "button", id: "list-descending", "aria-pressed": "false", onclick: () => turn(state.sort) }, "descending");
    const turn = (name) => {
      state.descending = state.sort === name ? !state.descending : false;
      state.sort = name;
      section.querySelector("#list-sort").value = name;
      order.setAttribute("aria-pressed", String(state.descending));
      filter();
    };
    const sorter = choice("sort", [...new Set(["rank", "name", ...columns])].map((name) => [name, name]));
    sorter.addEventListener("change", () => order.setAttribute("aria-pressed", String(state.descending)));
    section.append(
      h("h2", { id: "list-title", tabindex: -1 }, "Candidates"),
      h("details", { open: matchMedia("(min-width: 761px)").matches }, h("summary", {}, "Filter and sort"), h("div", { class: "filters" },
        h("label", {}, "name or id", h("input", { type: "search", id: "list-query", oninput: change("query") })),
        h("label", {}, "status", choice("status", [["", "any"], ...statuses.map((name) => [name, name])])),
        h("label", {}, "show", choice("only", onlys)),
        h("label", {}, "where", choice("column", [["", "any value"], ...columns.map((name) => [name, name])])),
        h("label", {}, "from", h("input", { type: "number", step: "any", id: "list-low", oninput: change("low") })),
        h("label", {}, "to", h("input", { type: "number", step: "any", id: "list-high", oninput: change("high") })),
        h("label", {}, "sort by", sorter), order)),
      count,
      h("div", { class: "rows-head" },
        h("span"),
        ...["rank", "name", ...cells].map((name) => h("span", { class: name === "name" ? "" : "num" }, h("button", { type: "button", title: TL.meaning(name), onclick: () => turn(name) }, name.replaceAll("_", " ")))),
        h("span", {}, "status"), h("span", { title: "my grade" }, "grade")),
      box);
    filter();
  }

  TL.views.list = {
    title: "list-title",
    show(rest, parameters) {
      if (!box) build();
      if (parameters.has("status")) {
        state.status = parameters.get("status");
        document.getElementById("list-status").value = state.status;
        filter();
      } else if (state.only === "graded" || state.only === "open") filter();
      else draw();
    },
    focus: () => box.focus({ preventScroll: true }),
    keys: {
      j: () => move(selected + 1),
      k: () => move(selected - 1),
      Enter: () => shown.length && open(selected),
      "/": () => {
        document.querySelector("#view-list details").open = true;
        document.getElementById("list-query").focus();
      },
    },
  };

  // The neighbour of a target in the list as it is filtered and sorted, or null.
  TL.neighbour = (row, step) => {
    if (!box) build();
    const k = shown.indexOf(row);
    const other = k < 0 ? undefined : shown[k + step];
    if (other === undefined) return null;
    selected = k + step;
    return at("target_id", other);
  };
})();
