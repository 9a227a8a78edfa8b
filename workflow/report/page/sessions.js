// Sessions of graders: what is shown in which order, votes, and their CSV.
"use strict";

(() => {
  const HEADER = ["target_id", "grade", "note", "grader", "session", "position", "kind", "time", "run_id"];
  const GRADES = ["A", "B", "C", "X"];
  const KINDS = ["first", "duplicate", "calibration"];
  const NAME = /^(rank|random|next)\.(\d+)\.(\d+)\.(blind|open)\.(\d{8}T\d{6}Z)$/;
  // a duplicate comes at least so many candidates after the first
  const APART = 5;

  // Cells are written byte for byte: whoever reads them is no spreadsheet, and takes none for a formula.
  const cell = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  TL.toCsv = (votes) => [HEADER, ...votes.map((vote) => HEADER.map((name) => String(vote[name])))].map((row) => `${row.map(cell).join(",")}\n`).join("");

  // Rows of a CSV file (RFC 4180), line ends of either kind.
  TL.parseCsv = (text) => {
    const rows = [];
    let row = [];
    let value = "";
    let quoted = false;
    let started = false;
    const endRow = () => {
      rows.push([...row, value]);
      [row, value, started] = [[], "", false];
    };
    for (let k = 0; k < text.length; k += 1) {
      const c = text[k];
      if (quoted) {
        if (c !== '"') value += c;
        else if (text[k + 1] === '"') {
          value += c;
          k += 1;
        } else quoted = false;
      } else if (c === '"' && value === "") [quoted, started] = [true, true];
      else if (c === ",") {
        row.push(value);
        [value, started] = ["", true];
      } else if (c === "\n" || (c === "\r" && text[k + 1] === "\n")) {
        if (c === "\r") k += 1;
        endRow();
      } else [value, started] = [value + c, true];
    }
    if (started || row.length) endRow();
    return rows;
  };

  // Votes of a CSV file, and what is wrong with the rows that are none.
  TL.fromCsv = (text) => {
    const [header, ...rows] = TL.parseCsv(text);
    if (!header || header.join() !== HEADER.join()) throw new Error(`the first line is "${(header ?? []).join(",").slice(0, 80)}", not "${HEADER.join(",")}"; choose a file that this page exported`);
    const votes = [];
    const bad = [];
    rows.forEach((row, k) => {
      const vote = Object.fromEntries(HEADER.map((name, n) => [name, row[n]]));
      const wrong = row.length !== HEADER.length ? `${row.length} cells instead of ${HEADER.length}`
        : !GRADES.includes(vote.grade) ? `grade "${vote.grade}"`
          : !KINDS.includes(vote.kind) ? `kind "${vote.kind}"`
            : !/^[1-9]\d*$/.test(vote.position) ? `position "${vote.position}"`
              : Number.isNaN(Date.parse(vote.time)) ? `time "${vote.time}"`
                : !vote.target_id || !vote.grader || !vote.session ? "an empty target_id, grader or session" : "";
      if (wrong) bad.push(`row ${k + 1}: ${wrong}`);
      else votes.push({ ...vote, position: Number(vote.position) });
    });
    return { votes, bad };
  };

  // Random numbers in [0, 1) from a text, equal in every browser (mulberry32 seeded by FNV-1a).
  TL.random = (text) => {
    let state = 2166136261;
    for (let k = 0; k < text.length; k += 1) state = Math.imul(state ^ text.charCodeAt(k), 16777619);
    return () => {
      state = (state + 0x6d2b79f5) | 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  };

  TL.shuffled = (items, random) => {
    const out = [...items];
    for (let k = out.length - 1; k > 0; k -= 1) {
      const other = Math.floor(random() * (k + 1));
      [out[k], out[other]] = [out[other], out[k]];
    }
    return out;
  };

  TL.sessionName = ({ order, seed, n, blind }, now = new Date()) => {
    const date = `${now.toISOString().slice(0, 19).replace(/[-:]/g, "")}Z`;
    return `${order}.${seed}.${n}.${blind ? "blind" : "open"}.${date}`;
  };

  // What a session shows: candidates in its order, some of them again, and systems of known answer among them.
  TL.sequence = (grader, session) => {
    const [, order, seed, n, sight] = NAME.exec(session);
    const random = TL.random(`${seed}|${order}|${grader}`);
    const columns = TL.data.columns;
    let rows = columns.rank.map((_, row) => row).filter((row) => columns.picture[row] !== null);
    if (order === "next" && columns.priority) rows.sort((a, b) => (columns.priority[b] ?? -1) - (columns.priority[a] ?? -1) || a - b);
    rows = rows.slice(0, Number(n));
    if (order === "random") rows = TL.shuffled(rows, random);
    const { duplicates, cases } = TL.data.run.grading;
    const items = rows.map((row, k) => ({ key: k, target_id: columns.target_id[row], picture: columns.picture[row], kind: "first" }));
    const early = items.length > APART ? items.slice(0, -APART) : [];
    const again = TL.shuffled(early, random).slice(0, Math.round(duplicates * items.length));
    for (const item of again) items.push({ ...item, key: item.key + APART + random() * (rows.length - item.key - APART), kind: "duplicate" });
    // where names are shown, a system without one would be known for what it is
    for (const [id, picture] of sight === "blind" ? cases : []) items.push({ key: random() * rows.length, target_id: id, picture, kind: "calibration" });
    items.sort((a, b) => a.key - b.key);
    return items.map(({ target_id, picture, kind }, k) => ({ target_id, picture, kind, position: k + 1 }));
  };

  TL.isSession = (name) => NAME.test(name);
  TL.isBlind = (name) => (NAME.exec(name) ?? [])[4] !== "open";

  // Votes in the browser: one entry a grader and session, written as each vote is given.
  const prefix = () => `tandemlens grades ${TL.data.run.survey} `;
  let sessions = null;
  let latest = null;

  TL.sessions = () => {
    if (sessions) return sessions;
    sessions = new Map();
    try {
      for (let k = 0; k < localStorage.length; k += 1) {
        const key = localStorage.key(k);
        if (!key.startsWith(prefix())) continue;
        const [grader, session] = JSON.parse(key.slice(prefix().length));
        sessions.set(key, { grader, session, votes: new Map(JSON.parse(localStorage.getItem(key)).map((vote) => [vote.position, vote])) });
      }
    } catch (error) {
      TL.tell(`The browser does not let this page keep grades (${error.message}): export them before you leave.`);
    }
    return sessions;
  };

  TL.openSession = (grader, session) => {
    const key = prefix() + JSON.stringify([grader, session]);
    if (!TL.sessions().has(key)) sessions.set(key, { grader, session, votes: new Map() });
    return sessions.get(key);
  };

  TL.vote = (one, vote) => {
    one.votes.set(vote.position, vote);
    keep(one);
  };

  function keep(one) {
    latest = null;
    try {
      localStorage.setItem(prefix() + JSON.stringify([one.grader, one.session]), JSON.stringify([...one.votes.values()]));
    } catch (error) {
      TL.unkept = true;
      TL.tell(`The browser does not let this page keep grades (${error.message}): export them before you leave.`);
    }
  }

  TL.importVotes = (votes) => {
    const touched = new Set();
    for (const vote of votes) {
      const one = TL.openSession(vote.grader, vote.session);
      const known = one.votes.get(vote.position);
      // of two votes at one place the later stands, as it would have in one browser
      if (!known || Date.parse(vote.time) >= Date.parse(known.time)) one.votes.set(vote.position, vote);
      touched.add(one);
    }
    touched.forEach(keep);
  };

  TL.votesOf = (grader) => [...TL.sessions().values()].filter((one) => one.grader === grader)
    .sort((a, b) => (a.session < b.session ? -1 : 1))
    .flatMap((one) => [...one.votes.values()].sort((a, b) => a.position - b.position));

  TL.grader = () => {
    try {
      return localStorage.getItem("tandemlens grader") ?? "";
    } catch {
      return "";
    }
  };

  // My latest grade of every target.
  TL.myGrades = () => {
    const grader = TL.grader();
    if (!latest || latest.grader !== grader) {
      const votes = TL.votesOf(grader).filter((vote) => vote.kind !== "calibration").sort((a, b) => Date.parse(a.time) - Date.parse(b.time));
      latest = { grader, grades: new Map(votes.map((vote) => [vote.target_id, vote.grade])) };
    }
    return latest.grades;
  };
})();
