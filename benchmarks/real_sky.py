"""What heads lose on the step from simulated to real images, and what makes up for it.

Systems are painted into the cutouts of a real field, and drawn whole as the same survey would see them; then heads
trained on either are tried on both. First the target lists and settings of the runs are written, then the runs are
made, then they are compared, all from the root of the project::

    PYTHONPATH=workflow/scripts:benchmarks python benchmarks/real_sky.py prepare kids DATA WORK   # or des
    snakemake --cores 2 --configfile WORK/kids_injected_1.yaml --until score_colour  # and all others
    PYTHONPATH=workflow/scripts:benchmarks python benchmarks/real_sky.py compare kids WORK

DATA holds the images of the field. Its targets are galaxies without known lenses: redshifts are those of the red
sequence at their colours, richnesses are drawn, anew for every run. For the run `wide` copy WORK/kids_viking_wide.yaml
to config/surveys.
"""

import logging
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from cross_survey import redrawn
from ideal_observer import TOLD, observed, truth_told
from rotations import IDEAL, UNTUNED, chances, rotate, rotations, sample, sample_table, write_tables
from sklearn.model_selection import GroupKFold

from tandemlens.base.config import load_schema, load_yaml, validate_settings
from tandemlens.base.tables import read_table
from tandemlens.catalogue.evaluation import heads_by_metric
from tandemlens.catalogue.validation import RANKING
from tandemlens.features.sequence import sequence_colours, survey_bands
from tandemlens.learn.matrix import feature_names
from tandemlens.learn.metrics import clopper_pearson, ece, ranking_value, threshold_at_fpr
from tandemlens.learn.prior import shift_prior
from tandemlens.learn.resample import paired_difference

#: seeds of the painted runs of a field, fields of its simulated runs, and the settings of both
FIELDS = {
    "kids": {
        "survey": "kids_viking",
        "bands": ["g", "r", "i"],
        "seeds": 2,
        "mocks": {"mock": 88, "wide": 44},
        "richness": (60, 200),
    },
    "des": {
        "survey": "des_lrg",
        "bands": ["g", "r", "i", "z"],
        "seeds": 2,
        "mocks": {"mock": 60},
        "size_arcsec": 23,
        "richness": (30, 90),
    },
}
#: cells of the sky (ra, dec) whose middles simulated fields surround, one a shard
CELLS = ((84.4, 9.6), (247.5, 35.7), (123.7, 35.7), (33.8, 4.8))
#: scatter of seeing (fraction) and depth (mag) among the fields of the run wide
WIDE = {"fwhm_scatter": 0.25, "depth_scatter": 0.4}
#: redshifts of lenses that the red sequence of g - r tells
Z_RANGE = (0.15, 0.45)
#: of the density of richnesses, integrated
SLOPE = 1.8
#: shallow images of near lenses show few tandems whose centres are far apart
BEHIND = {"behind": {"offset_kpc": 50, "richness_min": 30}}
#: turns of the test; targets closer than this are one group, arcmin
FOLDS, NEAR_ARCMIN = 5, 0.7
CALIBRATED = "calibrated on real targets"
#: rates of false positives, and figures of merit that are compared
RATES = (0.1, 0.03)
COMPARED = ("tpr_at_fpr_0.1", "tpr_at_fpr_0.03", "tpr_at_fpr_0.01", "auroc")
HEADS, DRAWS = ("fused", "classic"), 1000
#: share of tandems at which the probabilities of real targets are told
LEAST_SHARE = 0.01


def prepare(name, data, work):
    """Write target lists and settings of all runs of a field."""
    field, work = FIELDS[name], Path(work)
    work.mkdir(parents=True, exist_ok=True)
    z = _real_targets(name, Path(data), 1)["z"]
    for seed in range(1, field["seeds"] + 1):
        rows = _real_targets(name, Path(data), seed)
        run, rng = f"{name}_injected_{seed}", np.random.default_rng(seed)
        path = work / f"{run}.csv"
        rows.assign(richness=_richnesses(rng, len(rows), field)).to_csv(path, index=False)
        _write_settings(work, run, field, seed, _sample("survey", path), _sample("injected", path, twins=True), data)
    others = {k: {"share": 0} for k in ("tandem", "projected", "single_arc", "spiral_ring_merger", "artefact")}
    for seed, (mock, count) in enumerate(field["mocks"].items(), 4):
        rng = np.random.default_rng(seed)
        lists = {whose: work / f"{name}_{mock}_{whose}.csv" for whose in ("train", "search")}
        for (whose, path), n in zip(lists.items(), (count, 40), strict=True):
            _fields(rng, n, z, whose, field).to_csv(path, index=False)
        # a single member painted in is as near to nothing as a simulated cluster comes
        search = _sample("simulated", lists["search"], members={"count": 1}, **others)
        train = _sample("simulated", lists["train"], twins=True)
        survey = field["survey"] + ("_wide" if mock == "wide" else "")
        _write_settings(work, f"{name}_{mock}", {**field, "survey": survey}, seed, search, train)
    if "wide" in field["mocks"]:
        survey = load_yaml(f"config/surveys/{field['survey']}.yaml")
        for band in field["bands"]:
            survey["bands"][band]["mock"] |= WIDE
        (work / f"{field['survey']}_wide.yaml").write_text(yaml.safe_dump(survey, sort_keys=False))


def _real_targets(name, data, seed):
    """Targets of a field with the redshifts that their colours tell.

    Half of the first list of the KiDS field are stars, so that the second are galaxies, 0.9 < g - r < 1.5, r < 21.2
    and wider than the PSF, 15 arcsec and more apart, that stand in the cutouts of the first.
    """
    if name == "des":
        return pd.read_csv("resources/targets/des_lrg.csv")
    rows = pd.read_csv(data / "targets.csv" if seed == 1 else "resources/targets/kids_galaxies.csv")
    bands = survey_bands(load_yaml("config/surveys/kids_viking.yaml"), FIELDS[name]["bands"])
    grid = np.arange(0.05, 0.4, 0.01)
    expected = sequence_colours("resources/seds/elliptical.csv", bands, grid)[:, 0]
    z = np.clip(np.interp(rows["g_r"], expected, grid), *Z_RANGE)
    return rows[["name", "ra", "dec"]].assign(z=z.round(3))


def _richnesses(rng, n, field):
    least, most = field["richness"]
    return np.minimum(least * rng.uniform(size=n) ** (-1 / SLOPE), most).round(1)


def _fields(rng, n, z, name, field):
    """Targets in the middles of cells, 45 arcmin apart, with redshifts of the real ones within 0.02."""
    place = np.arange(n) // len(CELLS)
    ra, dec = np.array(CELLS).T[:, np.arange(n) % len(CELLS)]
    rows = pd.DataFrame({"name": [f"{name}-{k:03d}" for k in range(n)]})
    rows["ra"] = (ra + 0.9 * (place % 5 - 2)).round(5)
    rows["dec"] = (dec + 0.75 * (place // 5 - 2.5)).round(5)
    drawn = rng.choice(z, n) + rng.uniform(-0.02, 0.02, n)
    return rows.assign(z=np.maximum(drawn, Z_RANGE[0]).round(3), richness=_richnesses(rng, n, field))


def _sample(pixels, path, **simulate):
    targets = {"catalogue": str(path.resolve())}
    return {"pixels": pixels, "targets": targets} | (
        {"simulate": {"tries": 100, "tandem": BEHIND, "projected": BEHIND, **simulate}} if simulate else {}
    )


def _write_settings(work, run, field, seed, search, train, data=None):
    search = {"survey": field["survey"], "bands": field["bands"], **search}
    settings = {"results": str((work / run).resolve()), "seed": seed, "samples": {"search": search, "train": train}}
    settings |= {"data": str(Path(data).resolve())} if data else {}
    settings |= {"cutout": {"size_arcsec": field["size_arcsec"]}} if "size_arcsec" in field else {}
    (work / f"{run}.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))


def compare(name, work):
    """Train on one kind of images, try on the others, and write what came of it."""
    work, bands = Path(work), FIELDS[name]["bands"]
    frame, groups, roles, bare = gathered(name, work)
    config = validate_settings(load_yaml(work / f"{name}_mock.yaml"), load_schema("config/schemas/config.schema.yaml"))
    settings = {"classic": UNTUNED, "fusion": config["fusion"]}
    for design, (trained, change) in designs(frame, bare, bands).items():
        path = work / f"{name}_{design}.pkl"
        # a comparison that was stopped goes on
        if path.exists():
            continue
        print(design, int(trained.sum()), flush=True)
        parts = []
        for k in range(FOLDS):
            used = np.where((roles[:, k] == "test") | trained, roles[:, k], "")
            if design == CALIBRATED:
                # real targets calibrate, and stay out of the rest
                used[(frame["kind"] == "real") & (roles[:, k] != "test")] = "calibrate"
                used[(frame["kind"] == "mock") & (roles[:, k] == "calibrate") & ~frame["label"]] = ""
            parts.append(rotate(change(k, roles[:, k]), groups, used[:, None], settings, bands, k)[:2])
        held_out, scores = (pd.concat(some).sort_index() for some in zip(*parts, strict=True))
        pd.to_pickle((restated(held_out.assign(kind=frame["kind"]), frame["label"].mean()), scores), path)
    report(name, work)


def restated(held_out, share):
    """Probabilities that hold at a share of tandems, told at that of each kind of systems."""
    held_out, columns = held_out.copy(), [c for c in held_out if c.startswith("probability")]
    for rows in held_out.groupby("kind").indices.values():
        own = max(held_out["label"].iloc[rows].mean(), LEAST_SHARE)
        told = shift_prior(held_out[columns].iloc[rows].to_numpy(), share, own)
        held_out.iloc[rows, held_out.columns.get_indexer(columns)] = told
    return held_out


def gathered(name, work):
    """All systems of a field with their kind, groups and roles in every rotation; and bare simulated clusters.

    Kinds are mock, wide, injected, and real for targets as they are. Those of real images have one group a target, with
    targets within an arcmin, whatever was painted on them.
    """
    survey, parts, roles = FIELDS[name]["survey"], [], []
    for mock in [mock for mock in FIELDS[name]["mocks"] if is_made(work / f"{name}_{mock}")]:
        found = simulated(work / f"{name}_{mock}", survey + ("_wide" if mock == "wide" else ""), "train")
        group, dealt = rotations(found, FOLDS, 1)
        halves = pd.factorize(found["group_id"])[0] % 2 == 0
        parts.append(found.assign(kind=mock, half=halves, place=group))
        roles.append(dealt)
    painted, real = [], []
    for seed in range(1, FIELDS[name]["seeds"] + 1):
        run = f"{name}_injected_{seed}"
        if not is_made(work / run):
            continue
        painted.append(simulated(work / run, survey, "train").assign(run=run))
        real.append(unpainted(work / run, survey).assign(run=run))
    painted, real = (pd.concat(some, ignore_index=True) for some in (painted, real))
    for some in (painted, real):
        some["target_id"] = some["run"] + " " + some["target_id"]
        some["group_id"] = some["canvas"]
    group, dealt = rotations(painted, FOLDS, 1, radius_arcmin=NEAR_ARCMIN)
    place = pd.Series(group, painted["canvas"]).groupby(level=0).first()
    of = pd.DataFrame(dealt, painted["canvas"]).groupby(level=0).first()
    parts += [
        painted.assign(kind="injected", place=group),
        real.assign(kind="real", place=place[real["canvas"]].to_numpy()),
    ]
    roles += [dealt, np.where(of.loc[real["canvas"]] == "test", "test", "real")]
    bare = sample(work / f"{name}_mock", survey, "search")
    frame = pd.concat(parts, ignore_index=True).assign(survey=survey)
    frame["label"] = frame["label"].astype(bool)
    frame["half"] = frame["half"].eq(True)
    return frame, frame["place"].to_numpy(), np.concatenate(roles), bare


def is_made(results):
    """Whether a run is there, which is told."""
    made = any(results.glob("*/train/*/scores/colour.parquet"))
    print(f"run {results.name} is {'taken' if made else 'not there, and left out'}", flush=True)
    return made


def simulated(results, survey, name):
    """Systems of a simulated or injected sample, with the chance of the colour head."""
    frame = sample(results, survey, name)
    return frame.assign(p_chance=chances(results, survey, frame["target_id"], name))


def unpainted(results, survey):
    """Targets as they are, which count as no tandems."""
    frame, measured, features = (
        sample_table(results, survey, name, "search") for name in ("targets", "measure", "features")
    )
    frame = frame[["target_id", "ra", "dec", "group_id"]].merge(measured[["target_id", "fwhm"]], on="target_id")
    frame = frame.merge(features, on="target_id").assign(label=False, theta_e=np.nan, snr_brightest=0.0)
    frame = frame.assign(canvas=frame["target_id"], mag_brightest=np.nan, **{"class": "real"})
    return frame.assign(p_chance=chances(results, survey, frame["target_id"], "search"))


def designs(frame, bare, bands):
    """What is learnt from, and what is done to the features of real images in each rotation."""
    kind, half = frame["kind"].to_numpy(), frame["half"].to_numpy()
    mock, wide, injected = (kind == name for name in ("mock", "wide", "injected"))

    def as_is(k, roles):
        return frame

    def mapped(way):
        return lambda k, roles: aligned(frame, roles, bare, feature_names(bands), way)

    ways = {"mock": (mock, as_is), "injected": (injected, as_is), "both": (mock | injected, as_is)}
    if wide.any():
        ways |= {"half of mock": (mock & half, as_is), "wide": (wide, as_is)}
        ways["half of mock and wide"] = (mock & half | wide, as_is)
    ways["quantiles"], ways["location and scale"] = (mock, mapped(quantiles)), (mock, mapped(location_and_scale))
    return ways | {CALIBRATED: (mock, as_is)}


def aligned(frame, roles, bare, names, way):
    """Features of real images carried to the distribution of simulated clusters, by bare ones of either.

    The real ones are those of other rotations; labels and painted systems are not looked at.
    """
    kind = frame["kind"].to_numpy()
    known, moved = (kind == "real") & (roles != "test"), np.isin(kind, ("real", "injected"))
    out = frame.copy()
    for name in names:
        source, goal = (f[name].dropna().to_numpy(float) for f in (frame[known], bare))
        if len(np.unique(source)) > 3 and len(np.unique(goal)) > 3:
            out[name] = out[name].astype(float)
            out.loc[moved, name] = way(frame.loc[moved, name].to_numpy(float), source, goal)
    return out


def quantiles(values, source, goal):
    """Each value becomes that of its quantile; beyond the last ones by as much as before."""
    steps = np.linspace(0, 1, 41)
    have, want = (np.quantile(some, steps) for some in (source, goal))
    inside = np.clip(values, have[0], have[-1])
    return np.interp(inside, *_rising(have, want)) + (values - inside)


def _rising(have, want):
    """Means of `want` where `have` repeats."""
    once = pd.Series(want).groupby(have).mean()
    return once.index.to_numpy(), once.to_numpy()


def location_and_scale(values, source, goal):
    """Median and half of the central 68 per cent made alike."""
    (a, b, c), (x, y, z) = (np.quantile(some, (0.16, 0.5, 0.84)) for some in (source, goal))
    return y + (values - b) * ((z - x) / (c - a) if c > a and z > x else 1.0)


def report(name, work):
    """Write the tables of a comparison."""
    tried = {path.stem[len(name) + 1 :]: pd.read_pickle(path) for path in Path(work).glob(f"{name}_*.pkl")}
    text = [matrix(tried, Path(work), name), by_list(tried), losses(tried), gains(tried), false_positives(tried)]
    text.append(highest(tried))
    (Path(__file__).parent / f"results/real_sky_{name}.md").write_text("\n\n".join(text) + "\n")
    print("\n\n".join(text))


def of_kind(tried, design, kind):
    """Systems and scores of one kind."""
    held_out, scores = tried[design]
    rows = (held_out["kind"] == kind).to_numpy()
    return held_out[rows], scores[rows]


def matrix(tried, work, name):
    """What is learnt from against what is tried on."""
    rows = []
    for design, kind in (("mock", "mock"), ("mock", "injected"), ("injected", "injected"), ("both", "injected")):
        folder = work / "tables" / f"{name}_{design}_{kind}"
        folder.mkdir(parents=True, exist_ok=True)
        held_out, scores = of_kind(tried, design, kind)
        if kind == "injected":
            scores = scores.assign(**{IDEAL: of_the_truth(held_out, work, name)})
        metrics = read_table(write_tables(folder, held_out.drop(columns="kind"), scores, 1)["metrics"])
        for part, whose in (("overall", "all"), ("regime", "experts")):
            some = metrics[(metrics["part"] == part) & metrics["head"].isin(HEADS)]
            n = f"{int(some['n_pos'].iloc[0])} of {len(held_out)}" if len(some) else ""
            rows += [[design, kind, whose, n, head, *cells] for head, cells in heads_by_metric(some, RANKING)]
    return markdown(["trained on", "tried on", "tandems", "number", "head", *RANKING.values()], rows)


def of_the_truth(held_out, work, name):
    """Log odds of painted systems by an observer who is told the truth, and learns from other canvases."""
    runs = sorted(set(held_out["target_id"].str.split().str[0]))
    known = {}
    for table in ("systems", "truth"):
        parts = [sample_table(work / run, FIELDS[name]["survey"], table).assign(run=run) for run in runs]
        known[table] = pd.concat(parts, ignore_index=True)
        known[table]["target_id"] = known[table]["run"] + " " + known[table]["target_id"]
    systems = known["systems"].set_index("target_id").loc[held_out["target_id"]].reset_index()
    members = known["truth"].query("kind == 'behind'")
    groups, roles = held_out["group"].to_numpy(), np.full((len(held_out), FOLDS), "train", dtype=object)
    for k, (_, test) in enumerate(GroupKFold(FOLDS).split(groups, groups=groups)):
        roles[test, k] = "test"
    told = truth_told(systems[systems["class"].isin(TOLD)], members)
    return observed(systems, told, groups, roles, 1)


def by_list(tried):
    """Each list of canvases by itself."""
    held_out, scores = of_kind(tried, "mock", "injected")
    rows = []
    for run, some in held_out.groupby(held_out["target_id"].str.split().str[0]):
        cells = [f"{ranking_value(m, scores.loc[some.index, 'fused'], some['label']):.2f}" for m in COMPARED]
        rows.append([run, f"{int(some['label'].sum())} of {len(some)}", *cells])
    return markdown(["list", "tandems", *(RANKING[m] for m in COMPARED)], rows)


def losses(tried):
    """Differences between samples that share no system: both are drawn anew."""
    pairs = [(("mock", "injected"), ("mock", "mock")), (("injected", "injected"), ("mock", "mock"))]
    rows = []
    for pair in pairs:
        sides = [of_kind(tried, *side) for side in pair]
        for head in HEADS:
            cells = []
            for metric in COMPARED:
                sample_of = [(h["label"].to_numpy(), h["group"].to_numpy(), s[head].to_numpy()) for h, s in sides]
                a, b = (ranking_value(metric, s, y) for y, _, s in sample_of)
                rng = np.random.default_rng(1)
                drawn = [
                    redrawn(rng, *sample_of[0], metric) - redrawn(rng, *sample_of[1], metric) for _ in range(DRAWS)
                ]
                cells.append(interval(a - b, *np.nanquantile(drawn, (0.025, 0.975))))
            names = [" tried on ".join(side) for side in pair]
            rows.append([f"{names[0]}, minus {names[1]}", head, *cells])
    return markdown(["difference", "head", *(RANKING[m] for m in COMPARED)], rows)


def gains(tried):
    """Paired differences on the injected systems."""
    against = {name: "mock" for name in tried if name not in ("mock", "injected", "half of mock", "wide")}
    against |= {"injected": "mock", "wide": "half of mock"}
    rows = []
    for design, reference in against.items():
        if design not in tried:
            continue
        (held_out, a), (_, b) = (of_kind(tried, name, "injected") for name in (design, reference))
        for head in HEADS:
            cells = []
            for metric in COMPARED:
                rng, groups = np.random.default_rng(1), held_out["group"].to_numpy()
                found = paired_difference(a[head], b[head], held_out["label"], metric, rng, groups)
                cells.append(interval(found["difference"], found["low"], found["high"]))
            rows.append([f"{design}, minus {reference}", head, *cells])
    return markdown(["difference on injected systems", "head", *(RANKING[m] for m in COMPARED)], rows)


def false_positives(tried):
    """What a threshold promises by one kind of non-tandems, and lets through of real targets; calibration."""
    rows = []
    real, scores = of_kind(tried, "mock", "real")
    once = scores["fused"].groupby(real["target_id"].str.split().str[1]).mean()
    for kind in ("mock", "injected"):
        held_out, known = of_kind(tried, "mock", kind)
        for rate in RATES:
            threshold = threshold_at_fpr(known["fused"].fillna(-np.inf), held_out["label"], rate)
            k, n = int((once >= threshold).sum()), len(once)
            low, high = clopper_pearson(k, n)
            rows.append([kind, f"{rate:g}", f"{k} of {n}", interval(k / n, low, high)])
    first = markdown(["FPR set on non-tandems that are", "promised", "real targets above", "found"], rows)
    rows = []
    for design in ("mock", CALIBRATED, "both", "injected"):
        held_out, _ = of_kind(tried, design, "injected")
        real, _ = of_kind(tried, design, "real")
        p = real["probability"]
        rows.append([design, f"{ece(held_out['probability'], held_out['label']):.3f}", f"{p.mean() * 100:.2f}"])
    columns = ["calibrated by", "ECE on injected systems", f"tandems promised in 100 real targets, share {LEAST_SHARE}"]
    return first + "\n\n" + markdown(columns, rows)


def highest(tried):
    """Real targets by score, with the share of simulated non-tandems that score as high."""
    real, scores = of_kind(tried, "mock", "real")
    held_out, known = of_kind(tried, "mock", "mock")
    null = np.sort(known.loc[~held_out["label"], "fused"].to_numpy())
    once = scores[["fused", "classic", "colour"]].groupby(real["target_id"].str.split().str[1]).mean()
    once["as high"] = 1 - np.searchsorted(null, once["fused"]) / len(null)
    once = once.sort_values("fused", ascending=False).head(15)
    rows = [[name, *(f"{v:.3f}" for v in row)] for name, row in zip(once.index, once.to_numpy(), strict=True)]
    return markdown(["real target", *once.columns], rows)


def interval(value, low, high):
    """As text."""
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def markdown(columns, rows):
    """A table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows))


def main():
    """Prepare or compare."""
    logging.getLogger("tandemlens").setLevel(logging.ERROR)
    task, *given = sys.argv[1:]
    {"prepare": prepare, "compare": compare, "report": report}[task](*given)


if __name__ == "__main__":
    main()
