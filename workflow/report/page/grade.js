// Grading: one system after the other, by keyboard.
"use strict";

(() => {
  const { h, number } = TL;
  const section = () => document.getElementById("view-grade");
  let session = null;
  let sequence = [];
  let place = 0;
  let turn = 0;

  function remember(grader) {
    try {
      localStorage.setItem("tandemlens grader", grader);
    } catch {
      TL.unkept = true;
    }
  }

  function start(grader, name) {
    remember(grader);
    session = TL.openSession(grader, name);
    sequence = TL.sequence(grader, name);
    const strange = [...session.votes.values()].filter((vote) => sequence[vote.position - 1]?.target_id !== vote.target_id);
    if (strange.length) {
      TL.tell(`Session ${name} was made from another catalogue: its ${session.votes.size} grades are kept and exported, but it cannot be continued here. Start a new one.`);
      session = null;
      setup();
      return;
    }
    const open = sequence.findIndex((item) => !session.votes.has(item.position));
    place = open < 0 ? 0 : open;
    step();
  }

  function download(grader) {
    const blob = new Blob([TL.toCsv(TL.votesOf(grader))], { type: "text/csv;charset=utf-8" });
    const link = h("a", { href: URL.createObjectURL(blob), download: `grades-${grader.replace(/[^\w-]+/g, "_").slice(0, 40)}-${TL.data.run.run_id}.csv` });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    TL.unkept = false;
  }

  async function take(files) {
    const said = [];
    for (const file of files) {
      try {
        const { votes, bad } = TL.fromCsv(await file.text());
        TL.importVotes(votes);
        said.push(`${file.name}: ${votes.length} grades taken${bad.length ? `, ${bad.length} rows left out (${bad.slice(0, 3).join("; ")})` : ""}.`);
      } catch (error) {
        said.push(`${file.name}: ${error.message}.`);
      }
    }
    setup(said.join(" "));
  }

  // Who grades what in which order, and the sessions so far.
  function setup(said = "") {
    turn += 1;
    session = null;
    const columns = TL.data.columns;
    const n = columns.picture.filter((picture) => picture !== null).length;
    const orders = [["random", "random, by seed and grader"], ["rank", "by rank, the best first"], ...(columns.priority ? [["next", "whose grade would tell most first"]] : [])];
    const form = h("form", { class: "form" },
      h("label", {}, "Grader", h("input", { id: "grader", required: true, value: TL.grader(), autocomplete: "off" })),
      h("label", {}, "Order", h("select", { id: "order" }, orders.map(([value, text]) => h("option", { value }, text)))),
      h("label", {}, "Seed", h("input", { id: "seed", type: "number", min: 0, step: 1, value: TL.data.run.grading.seed, required: true })),
      h("label", {}, `Candidates (at most ${n})`, h("input", { id: "number", type: "number", min: 1, max: n, step: 1, value: n, required: true })),
      h("label", { class: "line" }, h("input", { id: "blind", type: "checkbox", checked: true }), "hide names, scores and redshifts"),
      h("button", { type: "submit", id: "start" }, "Start"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const value = (id) => form.querySelector(`#${id}`).value;
      start(value("grader"), TL.sessionName({ order: value("order"), seed: Number(value("seed")), n: Number(value("number")), blind: form.querySelector("#blind").checked }));
    });
    const rows = [...TL.sessions().values()].filter((one) => one.votes.size).sort((a, b) => (a.grader + a.session < b.grader + b.session ? -1 : 1));
    const graders = [...new Set(rows.map((one) => one.grader))];
    TL.put(section(),
      h("h2", { id: "grade-title", tabindex: -1 }, "Grade"),
      h("p", {}, `Look at one system after the other and press ${Object.keys(TL.data.run.rubric).join(", ")}. Grades stay in this browser until you export them; the file goes into resources/grades, and the next run takes it in. Some systems come twice, and, where names are hidden, some have a known answer: they tell how much a grader's votes are worth.`),
      h("p", { class: said ? "none" : "", role: "status", id: "said" }, said),
      form,
      h("h3", {}, "Sessions in this browser"),
      rows.length ? h("ul", {}, rows.map((one) => h("li", {}, `${one.grader}, ${one.session}: ${one.votes.size} grades `,
        TL.isSession(one.session) ? h("button", { type: "button", onclick: () => start(one.grader, one.session) }, "continue") : null))) : h("p", {}, "None yet."),
      h("p", { class: "places" }, graders.map((grader) => h("button", { type: "button", class: "export", onclick: () => download(grader) }, `Export all grades of ${grader}`)),
        h("label", {}, "Import CSV ", h("input", { type: "file", id: "import", accept: ".csv,text/csv", multiple: true, onchange: (event) => take(event.target.files) }))),
      h("h3", {}, "What the grades mean"), rubric(null));
  }

  function rubric(grade) {
    return h("div", { class: "rubric" }, Object.entries(TL.data.run.rubric).map(([letter, { score, title, text }]) => (session
      ? h("button", { type: "button", "data-grade": letter, "aria-pressed": String(letter === grade), onclick: () => give(letter) }, h("b", {}, `${letter} · ${title}`), h("span", {}, text))
      : h("div", {}, h("b", {}, `${letter} (${score}) · ${title}`), h("span", {}, text)))));
  }

  async function step() {
    const mine = (turn += 1);
    const item = sequence[place];
    const blind = TL.isBlind(session.session);
    const vote = session.votes.get(item.position);
    const whole = blind ? {} : await TL.wholeRow(TL.rowOf(item.target_id));
    const pictures = await TL.picturesOf(item.target_id, item.picture);
    if (mine !== turn) return;
    const name = blind ? `System ${item.position}` : whole.name || item.target_id;
    const [top, ...rest] = TL.pictures(pictures, name, whole);
    const note = h("textarea", { id: "note", class: "note", "aria-label": "Note" });
    note.value = vote ? vote.note : "";
    note.addEventListener("change", () => annotate(note.value));
    TL.put(section(),
      h("div", { class: "places" },
        h("button", { type: "button", onclick: () => go(-1) }, "← previous"), h("button", { type: "button", onclick: () => go(1) }, "next →"),
        h("progress", { max: sequence.length, value: session.votes.size, "aria-label": "graded" }),
        h("span", { id: "progress" }, `${item.position} of ${sequence.length}, ${session.votes.size} graded`),
        h("button", { type: "button", class: "export", onclick: () => download(session.grader) }, "Export"), h("button", { type: "button", onclick: () => setup() }, "End session")),
      h("h2", { id: "grade-title", class: "title", tabindex: -1 }, name),
      blind || whole.z === undefined ? null : h("p", {}, `z ${number(whole.z, 3)}; ${TL.data.scores.map((score) => `${score.replaceAll("_", " ")} ${number(whole[score])}`).join(", ")}`),
      top, rubric(vote ? vote.grade : null), h("label", {}, "Note ", h("kbd", {}, "N"), note), rest);
    preload();
  }

  // Pictures of the next systems, so that they are there when they are asked for.
  function preload() {
    for (const item of sequence.slice(place + 1, place + 3)) TL.picturesOf(item.target_id, item.picture).catch(() => {});
  }

  function give(grade) {
    const item = sequence[place];
    const note = document.getElementById("note").value;
    TL.vote(session, {
      target_id: item.target_id, grade, note, grader: session.grader, session: session.session, position: item.position,
      kind: item.kind, time: `${new Date().toISOString().slice(0, 19)}Z`, run_id: TL.data.run.run_id,
    });
    if (place < sequence.length - 1) go(1);
    else if (session.votes.size === sequence.length) setup("The session is finished: export it.");
    else step();
  }

  function annotate(note) {
    const vote = session.votes.get(sequence[place].position);
    if (vote) TL.vote(session, { ...vote, note });
  }

  function go(by) {
    const to = place + by;
    if (to < 0 || to >= sequence.length) return;
    place = to;
    step().then(() => window.scrollTo(0, 0));
  }

  const inSession = (act) => () => session && act();
  TL.views.grade = {
    title: "grade-title",
    show: () => (session ? step() : setup()),
    keys: {
      ...Object.fromEntries(["a", "b", "c", "x"].map((key) => [key, inSession(() => give(key.toUpperCase()))])),
      n: inSession(() => document.getElementById("note").focus()),
      ArrowLeft: inSession(() => go(-1)), ArrowRight: inSession(() => go(1)),
      o: inSession(() => document.querySelector("#view-grade [data-switch=outlines]")?.click()),
      m: inSession(() => document.querySelector("#view-grade [data-switch=composite]")?.click()),
    },
  };
})();
