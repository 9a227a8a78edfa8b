// Which part of the page is shown, keys, and the theme.
"use strict";

(() => {
  const { h } = TL;
  const KEYS = [
    ["1 2 3", "overview, candidates, grade"], ["j k ↓ ↑", "down and up the list"], ["Enter", "open a candidate"], ["/", "search the list"],
    ["← →", "previous and next candidate or system"], ["Esc", "from a candidate to the list; out of a note"], ["o m t", "outlines, composite, attention on or off"],
    ["A B C X", "grade"], ["N", "note"], ["?", "this help"],
  ];
  const store = (name, value) => {
    try {
      if (value === undefined) return localStorage.getItem(name);
      localStorage.setItem(name, value);
    } catch {
      // a browser that keeps nothing forgets the choice
    }
    return null;
  };
  let view = "overview";

  function theme(choice) {
    const dark = choice === "dark" || (choice === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
    document.documentElement.dataset.theme = dark ? "dark" : "light";
  }

  async function route() {
    const [path, query] = location.hash.slice(1).split("?");
    const cut = path.indexOf("/");
    const [part, rest] = cut < 0 ? [path, ""] : [path.slice(0, cut), path.slice(cut + 1)];
    view = { c: "candidate" }[part] ?? (["list", "grade"].includes(part) ? part : "overview");
    for (const name of ["overview", "list", "candidate", "grade"]) document.getElementById(`view-${name}`).hidden = name !== view;
    for (const link of document.querySelectorAll("nav a")) {
      const here = link.hash === `#${view}` || (view === "candidate" && link.hash === "#list");
      if (here) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    TL.tell("");
    const shown = TL.views[view];
    if (!shown) return;
    try {
      await shown.show(decode(rest), new URLSearchParams(query ?? ""));
    } catch (error) {
      TL.tell(error.message);
    }
    if (shown.focus) shown.focus();
    else document.getElementById(shown.title)?.focus({ preventScroll: true });
  }

  function decode(text) {
    try {
      return decodeURIComponent(text);
    } catch {
      return text;
    }
  }

  function press(event) {
    const typing = event.target.closest("input:not([type=checkbox]), textarea, select");
    if (event.key === "Escape" && event.target.id === "note") event.target.blur();
    if (typing || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (!document.getElementById("keys").checked && event.key.length === 1) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key === "Enter" && event.target.closest("a, button, summary")) return;
    const everywhere = { 1: "overview", 2: "list", 3: "grade" };
    if (key in everywhere) location.hash = everywhere[key];
    else if (key === "?") help();
    else if (TL.views[view]?.keys[key]) TL.views[view].keys[key]();
    else return;
    event.preventDefault();
  }

  function help() {
    document.getElementById("help").showModal();
  }

  function build() {
    const dialog = document.getElementById("help");
    dialog.append(h("h2", { id: "help-title" }, "Keys"),
      h("table", {}, h("tbody", {}, KEYS.map(([keys, meaning]) => h("tr", {}, h("th", { scope: "row" }, keys.split(" ").flatMap((key) => [h("kbd", {}, key), " "])), h("td", {}, meaning))))),
      h("p", { class: "small" }, "Single keys work while “keys” is ticked. The page loads nothing from a network; links to viewers are plain links."),
      h("form", { method: "dialog" }, h("button", {}, "Close")));
    document.getElementById("help-button").addEventListener("click", help);
    const choice = document.getElementById("theme");
    choice.value = store("tandemlens theme") ?? "auto";
    choice.addEventListener("change", () => {
      store("tandemlens theme", choice.value);
      theme(choice.value);
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => theme(choice.value));
    theme(choice.value);
  }

  build();
  if (!TL.data) {
    TL.tell("page/rows.js cannot be read; copy the folder page whole, beside index.html.");
    return;
  }
  addEventListener("hashchange", route);
  addEventListener("keydown", press);
  addEventListener("beforeunload", (event) => {
    if (TL.unkept) event.preventDefault();
  });
  route();
})();
