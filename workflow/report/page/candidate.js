// One target: its pictures, scores, what drove them, and its whole row.
"use strict";

(() => {
  const { h, number } = TL;
  let current = null;
  let turn = 0;

  // Labels of the arcs behind the colour evidence, and attention by label, as the catalogue writes them.
  TL.chosenOf = (whole) => new Set((whole.chosen ?? "").split(" ").filter(Boolean).map(Number));
  TL.attentionOf = (whole) => new Map((whole.attention ?? "").split(" ").filter(Boolean).map((word) => word.split(":").map(Number)));

  // What moved the classic head, in words.
  TL.drivers = (text) => (text ?? "").split(" ").filter(Boolean).map((word) => {
    const cut = word.lastIndexOf(":");
    const [name, value] = [word.slice(0, cut), Number(word.slice(cut + 1))];
    const meaning = TL.data.run.features[name] ?? "";
    return { name, value, meaning, said: `${value > 0 ? "raised" : "lowered"} the log odds by ${Math.abs(value).toFixed(2)}` };
  });

  // Public viewers at a place: plain links, of which nothing is loaded.
  TL.links = (ra, dec) => {
    const [a, d] = [ra.toFixed(6), dec.toFixed(6)];
    const place = encodeURIComponent(`${a} ${d}`);
    return [
      ["Legacy Surveys viewer", `https://www.legacysurvey.org/viewer?ra=${a}&dec=${d}&zoom=15&mark=${a},${d}`],
      ["ESASky", `https://sky.esa.int/esasky/?target=${place}&fov=0.05&cooframe=J2000&sci=true`],
      ["Aladin Lite", `https://aladin.cds.unistra.fr/AladinLite/?target=${place}&fov=0.05`],
      ["NED", `https://ned.ipac.caltech.edu/conesearch?search_type=Near%20Position%20Search&in_csys=Equatorial&in_equinox=J2000&ra=${a}d&dec=${d}d&radius=2`],
      ["SIMBAD", `https://simbad.cds.unistra.fr/simbad/sim-coo?Coord=${place}&CooFrame=ICRS&Radius=2&Radius.unit=arcmin`],
    ];
  };

  TL.sexagesimal = (ra, dec) => {
    const parts = (value, places) => {
      const unit = 10 ** places;
      const whole = Math.round(value * 3600 * unit);
      const seconds = (whole % (60 * unit)) / unit;
      const two = (n) => String(n).padStart(2, "0");
      return `${two(Math.floor(whole / (3600 * unit)))}:${two(Math.floor(whole / (60 * unit)) % 60)}:${seconds.toFixed(places).padStart(places + 3, "0")}`;
    };
    return `${parts(ra / 15, 2)} ${dec < 0 ? "−" : "+"}${parts(Math.abs(dec), 1)}`;
  };

  // Pictures of a system with what is told of it; without a row nothing of the scores is shown.
  TL.pictures = (pictures, name, whole) => {
    const segments = TL.segments(pictures);
    const chosen = TL.chosenOf(whole);
    const attention = TL.attentionOf(whole);
    const residual = TL.residual(pictures, name, segments, chosen, attention);
    return [
      h("div", { class: "pictures" }, TL.composite(pictures, name), residual.figure),
      h("div", { class: "below" }, TL.colourPlot(pictures, name, segments, chosen, whole.z ?? null, residual),
        h("div", {}, TL.kindsKey(segments, chosen), TL.bands(pictures, name), arcs(segments, chosen, attention, residual))),
    ];
  };

  function arcs(segments, chosen, attention, residual) {
    const rows = segments.filter((one) => one.kind === "arc" || chosen.has(one.label)).sort((a, b) => b.snr - a.snr).slice(0, 20);
    if (!rows.length) return h("p", { class: "none" }, "No arc-like segment.");
    const show = (one, on) => {
      if (on) residual.tell(one.label);
      residual.paths.get(one.label)?.classList.toggle("shown", on);
    };
    return h("details", {}, h("summary", {}, `${rows.length} brightest arc-like segments`),
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Arc-like segments" }, h("table", {},
        h("thead", {}, h("tr", {}, ["segment", "S/N", "length (″)", "width (″)", "distance (″)", ...(attention.size ? ["attention"] : [])].map((text) => h("th", { scope: "col" }, text)))),
        h("tbody", {}, rows.map((one) => h("tr", { class: chosen.has(one.label) ? "listed" : "" },
          h("td", {}, h("button", { type: "button", onfocus: () => show(one, true), onblur: () => show(one, false), onpointerenter: () => show(one, true), onpointerleave: () => show(one, false) }, one.label)),
          [number(one.snr, 1), number(one.length, 1), number(one.width, 1), number(one.radius, 1), ...(attention.size ? [number(attention.get(one.label), 3)] : [])].map((text) => h("td", { class: "num" }, text))))))));
  }

  function table(facts, whole) {
    return h("table", {}, h("tbody", {}, facts.map((fact) => h("tr", {},
      h("th", { scope: "row", title: fact.description }, fact.name.replaceAll("_", " "), fact.unit ? ` (${fact.unit})` : ""),
      h("td", { title: fact.description }, h("div", {}, number(whole[fact.name], 3)))))));
  }

  function scores(whole) {
    const facts = TL.data.facts.filter((fact) => fact.group === "Scores of the heads");
    const known = facts.filter((fact) => !["chosen", "drivers", "attention"].includes(fact.name));
    // what ranks the target before what it was made of
    const first = (fact) => ["fused", "probability", "probability_low", "probability_high"].includes(fact.name);
    const numbers = [...known.filter(first), ...known.filter((fact) => !first(fact))];
    return h("div", {}, h("h3", {}, "Scores of the heads"), h("div", { class: "scroll" }, table(numbers, whole)));
  }

  function drivers(whole) {
    const list = TL.drivers(whole.drivers);
    if (!list.length) return null;
    return h("div", {}, h("h3", {}, "What moved the classic head most"), h("ul", {}, list.map((one) => h("li", {},
      h("b", {}, one.name.replaceAll("_", " ")), one.meaning ? ` (${one.meaning})` : "", ` ${one.said}.`))));
  }

  function behind(whole) {
    const said = [`Redshift of the cluster: ${number(whole.z, 3)}.`];
    if (whole.tandem_name) said.push(`A catalogue has ${whole.n_tandems === 1 ? "a cluster" : `${whole.n_tandems} clusters`} behind it; the closest on the sky is ${whole.tandem_name}, ${number(whole.tandem_separation, 0)}″ away at z ${number(whole.tandem_z, 3)}.`);
    else if (whole.n_tandems === 0) said.push("No catalogue has a cluster behind it.");
    if (whole.lambda_bg_z !== null && whole.lambda_bg_z !== undefined) said.push(`A second red sequence fits best at z ${number(whole.lambda_bg_z, 2)}, ${number(whole.lambda_bg_sigma, 1)} sigma.`);
    return h("div", {}, h("h3", {}, "Redshifts and the cluster behind"), h("p", {}, said.join(" ")));
  }

  function places(whole) {
    if (whole.ra === null || whole.dec === null) return h("p", { class: "none" }, "Its coordinates are unknown.");
    const links = TL.links(whole.ra, whole.dec).map(([text, href]) => h("a", { href, target: "_blank", rel: "noopener noreferrer" }, text));
    const simulated = TL.data.run.release.toLowerCase().startsWith("simulated");
    return h("div", {}, h("p", { class: "places" }, h("code", {}, `${whole.ra.toFixed(6)} ${whole.dec.toFixed(6)}`), h("code", {}, TL.sexagesimal(whole.ra, whole.dec)), "ICRS"),
      h("p", { class: "links" }, "Elsewhere:", links),
      simulated ? h("p", { class: "small" }, "What is painted here is simulated: these viewers show the real sky at its place.") : null);
  }

  async function show(id) {
    const section = document.getElementById("view-candidate");
    const mine = (turn += 1);
    const row = TL.rowOf(id);
    current = row ?? null;
    if (row === undefined) {
      TL.put(section,h("h2", { id: "candidate-title", tabindex: -1 }, "No such target"), h("p", {}, `The catalogue has no target ${id}.`));
      return;
    }
    const [whole, pictures] = await Promise.all([TL.wholeRow(row), TL.picturesOf(id, TL.at("picture", row))]);
    if (mine !== turn) return;
    const name = whole.name || whole.target_id;
    const groups = [...new Set(TL.data.facts.map((fact) => fact.group))].filter((group) => group && group !== "Scores of the heads");
    const step = (by, text) => h("button", { type: "button", onclick: () => go(by) }, text);
    const grade = TL.myGrades().get(id);
    TL.put(section,
      h("div", { class: "places" }, h("a", { href: "#list" }, "List"), step(-1, "← previous"), step(1, "next →")),
      h("h2", { id: "candidate-title", class: "title", tabindex: -1 }, `${whole.rank}. ${name}`),
      h("p", {}, `${whole.status}${whole.flags ? `; ${whole.flags}` : ""}. ${whole.reason ?? ""} `, whole.listed ? h("span", { class: "listed" }, "On the list of candidates. ") : null, grade ? `My grade: ${grade}.` : null),
      places(whole),
      ...(pictures ? TL.pictures(pictures, name, whole) : [h("p", { class: "none" }, "No pictures of this target: they are made of the best candidates (setting report.candidates) that have images.")]),
      h("div", { class: "facts" }, scores(whole), drivers(whole), behind(whole)),
      h("h3", {}, "The whole row"),
      h("div", { class: "facts" }, groups.map((group) => h("details", { open: group === "Provenance" }, h("summary", {}, group), table(TL.data.facts.filter((fact) => fact.group === group && fact.name in whole), whole)))));
    window.scrollTo(0, 0);
  }

  function go(by) {
    if (current === null) return;
    const id = TL.neighbour(current, by);
    if (id !== null) location.hash = `c/${encodeURIComponent(id)}`;
  }

  TL.views.candidate = {
    title: "candidate-title",
    show: (id) => show(id),
    keys: {
      ArrowRight: () => go(1), j: () => go(1), ArrowLeft: () => go(-1), k: () => go(-1),
      Escape: () => { location.hash = "list"; },
      o: () => document.querySelector("#view-candidate [data-switch=outlines]")?.click(),
      m: () => document.querySelector("#view-candidate [data-switch=composite]")?.click(),
      t: () => document.querySelector("#view-candidate [data-switch=attention]")?.click(),
    },
  };
})();
