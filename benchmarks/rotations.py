"""Heads on every system of a training sample, each time by fits that have not seen its group.

The pipeline keeps a fifth of the training sample for the test. Here folds take turns: each is the test once, and roles
are dealt anew to the rest, so that all systems are tested. Tables and page are those of the
pipeline. Run from the root of the project, after the scores of the colour head were made for the sample `train`:

    PYTHONPATH=workflow/scripts python benchmarks/rotations.py results-campaign mock rotations-mock

With --mil the head mil of `benchmarks/rotations_mil.py` is fused besides, and rotations that it lacks are left out.
With --images the cutouts are written as the baseline head sees them, for `benchmarks/rotations_baseline.py`, whose
scores --baseline takes in, and --ideal those of `benchmarks/ideal_observer.py`.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from tandemlens.base.columns.evaluation import HELD_OUT, HELD_OUT_SCORES, TABLES
from tandemlens.base.columns.scores import FUSERS_COMPARED
from tandemlens.base.config import load_schema, validate_settings
from tandemlens.base.tables import read_table, write_table
from tandemlens.catalogue.evaluation import write_evaluation_page
from tandemlens.catalogue.validation import IDEAL
from tandemlens.heads.classic import fit_classic
from tandemlens.learn.evaluate import write_evaluation
from tandemlens.learn.folds import assign_folds
from tandemlens.learn.fuse import fit_fusion
from tandemlens.learn.prior import shift_prior

KINDS = {"colour": "pvalue", "classic": "log_odds"}
MIL = {"mil": "real"}
#: the classic head without a search for hyperparameters
UNTUNED = {
    **{"max_depth": 3, "learning_rate": 0.05, "min_child_weight": 5, "reg_lambda": 2, "rounds": 2000, "patience": 50},
    **{"constraints": True, "trials": 0, "threads": 2},
}
SHARES = {"train": 0.68, "stop": 0.08, "calibrate": 0.14, "fuse": 0.1, "test": 0.0}


def sample_table(results, survey, name, part="train"):
    """A table of all shards of a sample that have features."""
    shards = sorted(path.parent for path in (Path(results) / survey / part).glob("*/features.parquet"))
    return pd.concat([read_table(shard / f"{name}.parquet") for shard in shards], ignore_index=True)


def sample(results, survey, part="train"):
    """Systems of a simulated or injected sample with place, features and seeing."""
    frame = sample_table(results, survey, "systems", part).drop(columns=["z", "richness"])
    for name, columns in (("targets", ["ra", "dec", "group_id"]), ("measure", ["fwhm"])):
        table = sample_table(results, survey, name, part)[["target_id", *columns]]
        frame = frame.merge(table, on="target_id", validate="one_to_one")
    frame = frame.merge(sample_table(results, survey, "features", part), on="target_id", how="left")
    return frame.assign(survey=survey)


def chances(results, survey, target_ids, name="train"):
    """Chance of the colour head."""
    paths = sorted((Path(results) / survey / name).glob("*/scores/colour.parquet"))
    return pd.concat(map(read_table, paths)).set_index("target_id")["p_chance"].reindex(target_ids).to_numpy()


def rotations(frame, n_folds, seed, **settings):
    """Group of every system, and its role in every rotation, (n, n_folds); settings are those of `assign_folds`."""
    whole = assign_folds(frame, {"n_folds": n_folds, **settings}, np.random.default_rng(seed))
    roles = np.full((len(frame), n_folds), "test", dtype=object)
    for k in range(n_folds):
        rest = np.flatnonzero(whole["fold"] != k)
        dealt = assign_folds(
            frame.iloc[rest].reset_index(drop=True), {"shares": SHARES, **settings}, np.random.default_rng(seed + k)
        )
        roles[rest, k] = dealt["role"]
    return whole["group"].to_numpy(), roles


def rotate(frame, group, roles, settings, bands, seed, mil=None):
    """Scores and probabilities of all systems, from the rotation in which each is the test."""
    out = frame[["target_id", "class", "label", "survey", "theta_e", "snr_brightest", "mag_brightest", "fwhm"]].copy()
    out = out.assign(role="test", group=group, probability=np.nan, probability_low=np.nan, probability_high=np.nan)
    scores = pd.DataFrame({"colour": frame["p_chance"], "classic": np.nan, "fused": np.nan})
    scores = scores.assign(mil=np.nan) if mil else scores
    reports, shipped, share = [], [], float(frame["label"].mean())
    for k in range(roles.shape[1]) if mil is None else mil:
        cfg = {**settings["classic"], "bands": bands, "seed": seed + k, "threads": 2}
        head = fit_classic(frame, frame["label"], group, roles[:, k], cfg)
        ok = (frame["status"] == "ok").to_numpy()
        heads = scores[["colour"]].assign(classic=np.where(ok, head.score(frame), np.nan))
        kinds = KINDS
        if mil:
            heads["mil"], kinds = mil[k].reindex(frame["target_id"]).to_numpy(), KINDS | MIL
        systems = frame[["label"]].assign(role=roles[:, k], group=group)
        fusion, report = fit_fusion(heads, systems, kinds, settings["fusion"], np.random.default_rng(seed + k))
        test = roles[:, k] == "test"
        fused = fusion.fuse(heads[test])
        told = fusion.probabilities(fused, fusion.prior)
        columns = list(told)
        out.loc[test, columns] = shift_prior(told.to_numpy(), fusion.prior, share)
        # log odds are one scale for all rotations
        scores.loc[test, "fused"] = fusion.calibrator.log_odds(fused)
        alone = [name for name in heads if name != "colour"]
        scores.loc[test, alone] = heads.loc[test, alone]
        notes = f"rotation {k}: " + report["note"]
        reports.append(report.assign(weights=[json.dumps(w) for w in report["weights"]], note=notes))
        shipped.append((head.learner, fusion.fuser.kind, head.report["auroc"]))
        print(k, *shipped[-1], flush=True)
    scores["colour"] = -np.log10(scores["colour"])
    seen = scores["fused"].notna()
    return out[seen], scores[seen], pd.concat(reports)


def write_tables(out, held_out, scores, seed):
    """Tables of the evaluation of what `rotate` gives; their paths by name."""
    # every system stands for the calibration too, at whose share of tandems the probabilities are told
    twice = held_out.assign(role="calibrate", target_id="calibrate " + held_out["target_id"])
    paths = {name: str(Path(out) / f"{name}.parquet") for name in ("held_out", "scores", *TABLES)}
    write_table(paths["held_out"], pd.concat([held_out, twice]), HELD_OUT)
    long = scores.assign(target_id=held_out["target_id"]).melt("target_id", var_name="head", value_name="score")
    write_table(paths["scores"], long, HELD_OUT_SCORES)
    write_evaluation(paths["held_out"], paths["scores"], {name: paths[name] for name in TABLES}, seed)
    return paths


def arguments(doc):
    """What every benchmark on rotations is told: a parser to which each adds its own."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("results")
    parser.add_argument("survey")
    parser.add_argument("out", type=Path)
    parser.add_argument("--config", default="config/examples/campaign.yaml")
    parser.add_argument("--folds", type=int, default=10)
    return parser


def main():
    """Rotate, evaluate, and write the page."""
    parser = arguments(__doc__)
    parser.add_argument("--images", action="store_true")
    parser.add_argument("--baseline", help="scores of benchmarks/rotations_baseline.py")
    parser.add_argument("--ideal", help="scores of benchmarks/ideal_observer.py")
    parser.add_argument("--mil", help="folder of tables of benchmarks/rotations_mil.py")
    given = parser.parse_args()
    settings = yaml.safe_load(Path(given.config).read_text())
    settings = validate_settings(settings, load_schema(Path("config/schemas/config.schema.yaml")))
    bands, seed, out = settings["samples"]["search"]["bands"], settings["seed"], given.out
    out.mkdir(parents=True, exist_ok=True)
    frame = sample(given.results, given.survey)
    frame["p_chance"] = chances(given.results, given.survey, frame["target_id"])
    group, roles = rotations(frame, given.folds, seed)
    if given.images:
        write_images(out, given, frame, roles, bands)
        return
    paths = sorted(Path(given.mil).glob("mil_*.parquet")) if given.mil else []
    mil = {int(path.stem[4:]): pd.read_parquet(path).set_index("target_id")["mil"] for path in paths} or None
    held_out, scores, report = rotate(frame, group, roles, settings, bands, seed, mil)
    for name, path in (("baseline", given.baseline), (IDEAL, given.ideal)):
        if path:
            found = pd.read_csv(path).set_index("target_id")["score"]
            scores[name] = found.reindex(held_out["target_id"]).to_numpy()
    paths = write_tables(out, held_out, scores, seed)
    fusion = out / "fusion"
    fusion.mkdir(exist_ok=True)
    write_table(fusion / "report.parquet", report, FUSERS_COMPARED)
    (fusion / "fusion.json").write_text(json.dumps({"used": True, "reason": ""}))
    cfg = {"survey": given.survey, "release": f"simulated {given.survey}"}
    template = "workflow/report/evaluation.html.j2"
    write_evaluation_page({**paths, "fusion": str(fusion)}, template, str(out / "evaluation.html"), cfg)
    metrics = read_table(paths["metrics"])
    chosen = metrics["metric"].isin(("auroc", "tpr_at_fpr_0.1", "tpr_at_fpr_0.03", "tpr_at_fpr_0.01", "ece"))
    paired = read_table(paths["paired"])
    print(paired[paired["a"] == "fused"].round(3).to_string())
    print(metrics[chosen & metrics["part"].isin(("overall", "regime"))].round(3).to_string())


def write_images(out, given, frame, roles, bands):
    """The images of the baseline head as bytes, with labels and roles."""
    from tandemlens.learn.cutouts import Framing, noise_levels, read_images

    paths = sorted(map(str, (Path(given.results) / given.survey / "train").glob("*/cutouts.h5")))
    framing = Framing(40.0, 96)
    scale = 3.0 * noise_levels(paths, bands, framing, list(frame["target_id"][:200]))
    ids, images, _ = read_images(paths, bands, framing, scale)
    order = pd.Series(np.arange(len(ids)), index=ids).reindex(frame["target_id"]).to_numpy()
    # 12 steps of a unit of asinh (3 sigma) keep the noise, and a byte the brightest galaxies
    packed = np.clip(np.rint(images[order].astype(np.float32) * 12 + 30), 0, 255).astype(np.uint8)
    np.savez_compressed(out / "images.npz", images=packed)
    facts = pd.DataFrame(roles, columns=[f"role{k}" for k in range(roles.shape[1])])
    facts.insert(0, "label", frame["label"].to_numpy())
    facts.insert(0, "target_id", frame["target_id"].to_numpy())
    facts.to_csv(out / "roles.csv", index=False)


if __name__ == "__main__":
    main()
