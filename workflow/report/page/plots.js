// Pictures of a system: composites, bands, segments that say what they are, and their colours.
"use strict";

(() => {
  const { h, svg, number } = TL;
  const FIELDS = ["label", "kind", "snr", "length", "width", "east", "north"];
  const CHOSEN = "#00e08a";
  const ORDER = { other: 0, member: 1, star: 1, artefact: 1, bcg: 2, arc: 3 };

  // Segments with names for their numbers.
  TL.segments = (pictures) => pictures.segments.map((values) => {
    const one = Object.fromEntries(FIELDS.map((name, k) => [name, values[k]]));
    one.mags = {};
    TL.data.run.bands.forEach((band, k) => {
      one.mags[band] = [values[FIELDS.length + 2 * k], values[FIELDS.length + 2 * k + 1]];
    });
    one.radius = Math.hypot(one.east, one.north);
    return one;
  });

  TL.sentence = (one, attention) => {
    const mags = TL.data.run.bands.filter((band) => one.mags[band][0] !== null)
      .map((band) => `${band} ${number(one.mags[band][0])} ± ${number(one.mags[band][1])}`);
    const shape = one.length === null ? "" : `, ${number(one.length, 1)}″ long and ${number(one.width, 1)}″ wide`;
    const weight = attention === undefined ? "" : `; attention ${number(attention, 3)}`;
    return `Segment ${one.label}: ${one.kind}, S/N ${number(one.snr, 1)}${shape}, ${number(one.radius, 1)}″ from the centre; ${mags.join(", ")}${weight}`;
  };

  TL.composite = (pictures, name) => [
    h("figure", {}, h("img", { class: "pixels", src: pictures.close, alt: `colour composite of ${name}, ${number(pictures.arcsec[0], 0)} arcsec wide`, width: pictures.size[0], height: pictures.size[1] }),
      h("figcaption", {}, `${pictures.rgb} as red, green, blue (Lupton), ${number(pictures.arcsec[0], 0)}″; north up, east left`)),
    pictures.wide ? h("figure", {}, h("img", { src: pictures.wide, alt: `wide colour composite of ${name}, ${number(pictures.arcsec[1], 0)} arcsec wide` }),
      h("figcaption", {}, `the whole cutout, ${number(pictures.arcsec[1], 0)}″, same stretch`)) : null,
  ];

  TL.bands = (pictures, name) => h("div", { class: "strip" }, pictures.bands.map(([band, source]) => h("figure", {},
    h("img", { class: "pixels", src: source, alt: `${name} in ${band}` }), h("figcaption", {}, `${band}, asinh in units of the noise`))));

  // Residual with outlines; hovering, tapping or focusing a row of the table tells what a segment is.
  TL.residual = (pictures, name, segments, chosen, attention) => {
    const [nx, ny] = pictures.size;
    const by = new Map(segments.map((one) => [one.label, one]));
    const most = Math.max(...attention.values(), 0);
    const told = h("figcaption", { class: "told", "aria-live": "polite" }, "Point at a segment.");
    const tell = (label) => {
      told.textContent = by.has(label) ? TL.sentence(by.get(label), attention.get(label)) : `Segment ${label} has no photometry`;
    };
    const paths = new Map();
    const outlines = pictures.outlines.map(([label, path]) => {
      const kind = by.has(label) ? by.get(label).kind : "other";
      const picked = chosen.has(label);
      const line = svg("path", {
        d: path, class: `outline${picked ? " chosen" : ""}`, stroke: picked ? CHOSEN : TL.data.run.kinds[kind],
        onpointerenter: () => tell(label), onclick: () => tell(label),
      });
      paths.set(label, line);
      return line;
    });
    const lines = svg("g", {}, outlines);
    const shade = svg("g", { "pointer-events": "none" }, pictures.outlines.filter(([label]) => attention.has(label)).map(([label, path]) => svg("path", { d: path, fill: "#ff4fd8", "fill-opacity": most ? 0.8 * attention.get(label) / most : 0 })));
    const scale = TL.data.run.pixel_scale;
    const bar = [20, 10, 5, 2, 1].find((length) => length / scale < 0.4 * nx) ?? 1;
    const marks = svg("g", { class: "marks", fill: "#fff", "font-size": ny / 22 },
      svg("line", { x1: nx * 0.05, x2: nx * 0.05 + bar / scale, y1: ny * 0.95, y2: ny * 0.95, stroke: "#fff", "stroke-width": ny / 150 }),
      svg("text", { x: nx * 0.05, y: ny * 0.93 }, `${bar}″`),
      svg("path", { d: `M${nx * 0.93},${ny * 0.16}V${ny * 0.07}M${nx * 0.93},${ny * 0.16}H${nx * 0.84}`, stroke: "#fff", fill: "none", "stroke-width": ny / 200 }),
      svg("text", { x: nx * 0.915, y: ny * 0.06 }, "N"), svg("text", { x: nx * 0.79, y: ny * 0.175 }, "E"));
    const image = svg("image", { href: pictures.residual, width: nx, height: ny, class: "pixels" });
    const colour = svg("image", { href: pictures.close, width: nx, height: ny, class: "pixels", visibility: "hidden" });
    const switches = h("div", { class: "switches" },
      toggle("outlines", true, (on) => lines.setAttribute("visibility", on ? "visible" : "hidden"), "outlines"),
      toggle("on the composite", false, (on) => colour.setAttribute("visibility", on ? "visible" : "hidden"), "composite"),
      attention.size ? toggle("attention", true, (on) => shade.setAttribute("visibility", on ? "visible" : "hidden"), "attention") : null);
    const picture = svg("svg", { viewBox: `0 0 ${nx} ${ny}`, role: "img", "aria-label": `residual and segments of ${name}` }, image, colour, shade, lines, marks);
    return { figure: h("figure", {}, picture, switches, told), tell, paths };
  };

  function toggle(text, on, act, name) {
    return h("label", {}, h("input", { type: "checkbox", checked: on, "data-switch": name, onchange: (event) => act(event.target.checked) }), ` ${text}`);
  }

  TL.kindsKey = (segments, chosen) => h("p", { class: "key" },
    Object.entries(TL.data.run.kinds).map(([kind, colour]) => h("span", {}, h("i", { style: `border-color:${colour}` }), `${kind} (${segments.filter((one) => one.kind === kind).length})`)),
    chosen.size ? h("span", {}, h("i", { style: `border-color:${CHOSEN}` }), "arcs behind the colour evidence") : null);

  // Colour, and covariance of two colours of one segment; colours that share a band are correlated.
  TL.colourOf = (mags, [a, b]) => (mags[a][0] === null || mags[b][0] === null ? null : mags[a][0] - mags[b][0]);
  TL.covariance = (mags, [a, b], [c, d]) => {
    const e = (band) => mags[band][1] ** 2;
    const sign = (band) => (band === a ? 1 : band === b ? -1 : 0) * (band === c ? 1 : band === d ? -1 : 0);
    const shared = [...new Set([a, b])].reduce((sum, band) => sum + sign(band) * e(band), 0);
    return [[e(a) + e(b), shared], [shared, e(c) + e(d)]];
  };

  // Half axes and angle of the one-sigma ellipse of a 2 x 2 covariance.
  TL.ellipse = ([[xx, xy], [, yy]]) => {
    const middle = (xx + yy) / 2;
    const away = Math.hypot((xx - yy) / 2, xy);
    return { major: Math.sqrt(middle + away), minor: Math.sqrt(Math.max(middle - away, 0)), angle: Math.atan2(2 * xy, xx - yy) / 2 };
  };

  // The foreground red sequence in two colours: place and covariance; null where a band is not in use.
  TL.sequenceAt = (sequence, pairs) => {
    if (!sequence) return null;
    const steps = pairs.map(([a, b]) => {
      const [i, j] = [sequence.bands.indexOf(a), sequence.bands.indexOf(b)];
      return i < 0 || j < 0 ? null : sequence.colours.map((_, k) => (k >= i && k < j ? 1 : 0));
    });
    if (steps.includes(null)) return null;
    const dot = (one, other) => one.reduce((sum, value, k) => sum + value * other[k], 0);
    const across = (one, other) => dot(one, sequence.covariance.map((row) => dot(row, other)));
    return { place: steps.map((step) => dot(step, sequence.colours)), covariance: steps.map((one) => steps.map((other) => across(one, other))) };
  };

  TL.pairs = () => {
    const bands = TL.data.run.bands;
    return bands.flatMap((a, i) => bands.slice(i + 1).map((b) => [a, b]));
  };

  // The two neighbouring colours that most arcs have.
  function usual(segments) {
    const bands = TL.data.run.bands;
    const near = bands.slice(1).map((band, k) => [bands[k], band]);
    const arcs = segments.filter((one) => one.kind === "arc");
    const known = near.map((pair) => [pair, arcs.filter((one) => TL.colourOf(one.mags, pair) !== null).length]);
    const best = [...known].sort((one, other) => other[1] - one[1]).slice(0, 2).map(([pair]) => pair);
    const two = near.filter((pair) => best.includes(pair));
    return two.length === 2 ? two : [near[0], near[0]];
  }

  TL.colourPlot = (pictures, name, segments, chosen, z, residual) => {
    const pairs = TL.pairs();
    const chosenPairs = usual(segments);
    const place = h("div");
    const pick = (axis) => h("label", {}, `${"xy"[axis]} `, h("select", {
      onchange: (event) => {
        chosenPairs[axis] = pairs[Number(event.target.value)];
        redraw();
      },
    }, pairs.map((pair, k) => h("option", { value: k, selected: pair.join() === chosenPairs[axis].join() }, pair.join(" − ")))));
    const redraw = () => place.replaceChildren(draw(pictures, name, segments, chosen, chosenPairs, z, residual));
    redraw();
    return h("figure", {}, place, h("div", { class: "switches" }, pick(0), pick(1)),
      h("figcaption", {}, "Colours of the segments (mag); ellipses are one sigma. Green: arcs behind the colour evidence. Shaded: the foreground red sequence within one and two sigma. Dashed: old galaxies along redshift."));
  };

  function draw(pictures, name, segments, chosen, pairs, z, residual) {
    const [width, height, left, bottom, top, right] = [420, 380, 46, 38, 10, 10];
    const points = segments.map((one) => ({ one, at: pairs.map((pair) => TL.colourOf(one.mags, pair)) }))
      .filter(({ at }) => at[0] !== null && at[1] !== null)
      .sort((one, other) => ORDER[one.one.kind] - ORDER[other.one.kind]);
    const sequence = TL.sequenceAt(pictures.sequence, pairs);
    const limits = [0, 1].map((axis) => range(points, pairs, axis, chosen, sequence));
    const x = (value) => left + (value - limits[0][0]) / (limits[0][1] - limits[0][0]) * (width - left - right);
    const y = (value) => height - bottom - (value - limits[1][0]) / (limits[1][1] - limits[1][0]) * (height - top - bottom);
    const scales = [x(1) - x(0), y(0) - y(1)];
    const clip = `clip-${Math.random().toString(36).slice(2)}`;
    const inside = svg("g", { "clip-path": `url(#${clip})` });
    const oval = (centre, covariance, klass, sigmas = 1) => {
      const { major, minor, angle } = TL.ellipse([[covariance[0][0] * scales[0] ** 2, covariance[0][1] * scales[0] * scales[1]], [covariance[1][0] * scales[0] * scales[1], covariance[1][1] * scales[1] ** 2]]);
      return svg("ellipse", { cx: x(centre[0]), cy: y(centre[1]), rx: sigmas * major, ry: Math.max(sigmas * minor, 0.3), class: klass, transform: `rotate(${-angle * 180 / Math.PI} ${x(centre[0])} ${y(centre[1])})` });
    };
    if (sequence) inside.append(oval(sequence.place, sequence.covariance, "sequence", 2), oval(sequence.place, sequence.covariance, "sequence"));
    inside.append(...track(pairs, x, y, z));
    for (const { one, at } of points) {
      const dot = mark(one, at, chosen, x, y);
      dot.append(svg("title", {}, TL.sentence(one)));
      dot.addEventListener("pointerenter", () => {
        residual.tell(one.label);
        residual.paths.get(one.label)?.classList.add("shown");
      });
      dot.addEventListener("pointerleave", () => residual.paths.get(one.label)?.classList.remove("shown"));
      if (one.kind === "arc") inside.append(oval(at, TL.covariance(one.mags, ...pairs), chosen.has(one.label) ? "chosen" : "arc"));
      inside.append(dot);
      if (chosen.has(one.label)) inside.append(svg("text", { x: x(at[0]) + 5, y: y(at[1]) - 4 }, one.label));
    }
    const axes = [...ticks(limits[0]).flatMap((value) => [svg("line", { class: "grid", x1: x(value), x2: x(value), y1: top, y2: height - bottom }), svg("text", { x: x(value), y: height - bottom + 14, "text-anchor": "middle" }, value.toFixed(1))]),
      ...ticks(limits[1]).flatMap((value) => [svg("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }), svg("text", { x: left - 5, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(1))])];
    return svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "plot", role: "img", "aria-label": `colours of the segments of ${name}` },
      svg("clipPath", { id: clip }, svg("rect", { x: left, y: top, width: width - left - right, height: height - top - bottom })),
      ...axes, inside,
      svg("rect", { class: "axis", x: left, y: top, width: width - left - right, height: height - top - bottom }),
      svg("text", { x: (width + left) / 2, y: height - 6, "text-anchor": "middle" }, pairs[0].join(" − ")),
      svg("text", { transform: `translate(12 ${(height - bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, pairs[1].join(" − ")));
  }

  function mark(one, at, chosen, x, y) {
    const [cx, cy] = [x(at[0]), y(at[1])];
    if (one.kind === "bcg") {
      const tips = [...Array(10).keys()].map((k) => {
        const [r, a] = [k % 2 ? 3.4 : 8, Math.PI * (k / 5 - 0.5)];
        return `${cx + r * Math.cos(a)},${cy + r * Math.sin(a)}`;
      });
      return svg("polygon", { points: tips.join(" "), class: "bcg" });
    }
    if (one.kind === "arc") return svg("circle", { cx, cy, r: chosen.has(one.label) ? 4 : 2.6, class: chosen.has(one.label) ? "chosen-dot" : "arc-dot" });
    return svg("circle", { cx, cy, r: 2, class: one.kind === "member" ? "member" : "other" });
  }

  // Old galaxies along redshift, a dot every 0.2, and a ring at the redshift of the target.
  function track(pairs, x, y, z) {
    const { z: steps, mags } = TL.data.run.track;
    const bands = TL.data.run.bands;
    const colour = (row, [a, b]) => {
      const [one, other] = [row[bands.indexOf(a)], row[bands.indexOf(b)]];
      return one === null || other === null ? null : one - other;
    };
    const known = steps.map((step, k) => [step, mags[k] && pairs.map((pair) => colour(mags[k], pair))]).filter(([, at]) => at && !at.includes(null));
    if (known.length < 2) return [];
    const parts = [svg("polyline", { class: "track", points: known.map(([, at]) => `${x(at[0])},${y(at[1])}`).join(" ") })];
    for (const [step, at] of known) {
      if (Math.round(step * 10) % 2 === 0) parts.push(svg("circle", { class: "track-dot", cx: x(at[0]), cy: y(at[1]), r: 2.2 }), svg("text", { x: x(at[0]) - 4, y: y(at[1]) - 4, "text-anchor": "end", "font-size": 9 }, `z ${step}`));
    }
    const after = known.findIndex(([step]) => step >= z);
    if (z !== null && after > 0) {
      const [[z0, a0], [z1, a1]] = [known[after - 1], known[after]];
      const at = a0.map((value, k) => value + (a1[k] - value) * (z - z0) / (z1 - z0));
      parts.push(svg("circle", { class: "track", cx: x(at[0]), cy: y(at[1]), r: 6, "stroke-dasharray": "none" }));
    }
    return parts;
  }

  function range(points, pairs, axis, chosen, sequence) {
    const good = points.filter(({ one }) => Math.sqrt(TL.covariance(one.mags, pairs[axis], pairs[axis])[0][0]) < 0.3);
    const values = good.map(({ at }) => at[axis]).sort((a, b) => a - b);
    const ends = values.length ? [values[Math.floor(0.02 * values.length)], values[Math.ceil(0.98 * values.length) - 1]] : [];
    ends.push(...points.filter(({ one }) => chosen.has(one.label)).map(({ at }) => at[axis]));
    if (sequence) ends.push(sequence.place[axis]);
    return ends.length ? [Math.min(...ends) - 0.4, Math.max(...ends) + 0.4] : [-1, 2];
  }

  function ticks([low, high]) {
    const step = [0.2, 0.5, 1, 2, 5].find((one) => (high - low) / one <= 7) ?? 10;
    const first = Math.ceil(low / step);
    return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, k) => (first + k) * step);
  }
})();
