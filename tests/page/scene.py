"""A small catalogue with images, and its page, made without a run of the workflow."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd

from places import ROOT
from tandemlens.base.columns import features, photometry, segments
from tandemlens.base.columns.candidates import LISTED
from tandemlens.base.columns.evaluation import METRICS
from tandemlens.base.columns.figures import COLUMNS as FIGURES
from tandemlens.base.columns.registry import Column, expand
from tandemlens.base.columns.scores import FUSED
from tandemlens.base.stack import Cutout, header_text, write_stack
from tandemlens.base.tables import empty_frame, write_table
from tandemlens.base.wcs import tangent_wcs
from tandemlens.catalogue.page import write_page
from tandemlens.heads.declaration import read_declaration

BANDS = ("g", "r", "i")
HEADS = {
    **{h: read_declaration(h, ROOT / "workflow/scripts").table for h in ("colour", "classic", "mil")},
    "fused": FUSED,
}
PICTURES, SIDE, KNOWN = 60, 48, 6
#: names that others might give to a cluster
HOSTILE = {
    0: '<script>window.pwned = 1</script><img src=x onerror="window.pwned = 1">',
    1: "\"quotes\", 'apostrophes', </script> & <!-- comments -->\u2028\u2029",
    2: '=HYPERLINK("x") \U0001f52d\u00e9\u4e2d',
    3: "long " + 1999 * "name ",
    4: 10000 * "x",
}
_SKY = [Column("ra", "float64", "deg", "right ascension, ICRS"), Column("dec", "float64", "deg", "declination, ICRS")]
_TEXT = ("target_id", "name", "shard", "flags", "status", "reason", "survey", "release", "bands", "run_id")


def _float(column):
    """As in the catalogue, where targets without a value have NaN."""
    return replace(column, dtype="float64") if column.dtype == "int32" else column


COLUMNS = [
    Column("rank", "int32", "", "1 is the best"),
    *[Column(name, "str", "", f"{name} <b>of</b> the target") for name in _TEXT],
    *_SKY,
    Column("z", "float64", "", "redshift"),
    *LISTED,
    *[_float(c) for table in HEADS.values() for c in table[1:]],
    *[_float(c) for c in features.COLUMNS if c.name in ("n_arcs", "lambda_bg_z", "lambda_bg_sigma")],
    Column("tandem_name", "str", "", "cluster behind"),
    Column("tandem_separation", "float64", "arcsec", "its distance"),
    Column("tandem_z", "float64", "", "its redshift"),
    Column("n_tandems", "int32", "", "clusters behind"),
]


def catalogue(n, seed=1):
    """A ranked catalogue of `n` rows, the first with hostile names, the last two without a place on the sky."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"rank": np.arange(1, n + 1)})
    for column in COLUMNS[1:]:
        value = {"str": "", "bool": False}.get(column.dtype, np.nan)
        frame[column.name] = value
    frame["target_id"] = [f"T{k:06d}" for k in range(n)]
    frame["name"] = [HOSTILE.get(k, f"Cluster {k}") for k in range(n)]
    frame["shard"] = [f"hp8_{k % 2:05d}" for k in range(n)]
    frame["status"] = np.where(np.arange(n) < n - 2, "scored", "bad_coordinates")
    frame["ra"], frame["dec"] = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    frame.loc[n - 2 :, ["ra", "dec"]] = np.nan
    frame["z"] = rng.uniform(0.1, 0.9, n)
    frame.loc[frame["rank"] == 6, "z"] = np.nan
    frame["fused"] = np.sort(rng.normal(size=n))[::-1]
    frame["probability"] = 1 / (1 + np.exp(-frame["fused"]))
    frame["color_evidence"], frame["classic"], frame["mil"] = rng.gamma(1, 1, n), rng.normal(size=n), rng.normal(size=n)
    frame["n_arcs"], frame["n_tandems"] = rng.integers(0, 20, n).astype(float), 0
    frame["listed"] = frame["rank"] <= 10
    frame["chosen"], frame["drivers"] = "2 3", "lw_max:+0.50 colour_gradient_g_r:-0.25"
    frame["attention"] = "2:0.6 3:0.3 0:0.1"
    frame["survey"], frame["release"], frame["bands"], frame["run_id"] = (
        "mock",
        "simulated <b>mock</b>",
        "g r i",
        "0a1b2c",
    )
    for name, value in {"name": "<u>behind</u>", "separation": 12.0, "z": 0.7}.items():
        frame.loc[frame["rank"] == 7, f"tandem_{name}"] = value
    frame["n_tandems"] = (frame["rank"] == 7).astype(int)
    return frame.astype({"rank": "int32", "n_tandems": "int32"})


def _shard(folder, ids, rng):
    """Matched images, label maps, segments and photometry of some systems: a central galaxy, two arcs, a member."""
    folder.mkdir(parents=True)
    y, x = np.mgrid[:SIDE, :SIDE]
    labels = np.zeros((SIDE, SIDE), np.uint16)
    labels[21:27, 21:27], labels[30:32, 10:22], labels[12:14, 26:38], labels[5:9, 40:44] = 1, 2, 3, 4
    kinds = {1: "bcg", 2: "arc", 3: "arc", 4: "member"}
    wcs = header_text(tangent_wcs(10.0, 0.0, (SIDE, SIDE), 1.0))
    names = [c.name for c in segments.COLUMNS]
    facts, fluxes = [], []
    with (
        write_stack(folder / "matched.h5", BANDS, (SIDE, SIDE), 5) as stack,
        h5py.File(folder / "segments.h5", "w") as out,
    ):
        for target_id in ids:
            light = 200 * np.exp(-np.hypot(x - 23.5, y - 23.5) / 5)
            planes = np.stack([scale * (light + 40 * (labels > 1)) for scale in (0.5, 1.0, 1.3)])
            flux = (planes + rng.normal(0, 3, planes.shape)).astype(np.float32)
            psf = np.zeros((3, 5, 5), np.float32)
            psf[:, 2, 2] = 1
            mask = np.zeros(flux.shape, np.uint16)
            stack.append(target_id, Cutout(BANDS, flux, np.full_like(flux, 9), mask, psf, (wcs,) * 3))
            group = out.create_group(target_id)
            group["labels"], group["detection"], group["residual"] = labels, flux.sum(0) / 6, flux
            for label, kind in kinds.items():
                where = np.nonzero(labels == label)
                row = dict.fromkeys(names, np.nan) | {"target_id": target_id, "label": label, "kind": kind, "ridge": ""}
                row |= {"x": where[1].mean(), "y": where[0].mean(), "area": len(where[0]), "snr": 10.0 * label}
                row |= {"east": 24 - where[1].mean(), "north": where[0].mean() - 24, "length": 4.2, "width": 1.1}
                facts.append(row)
                mags = {f"mag_{band}": 22.0 + 0.3 * label - 0.4 * k for k, band in enumerate(BANDS)}
                fluxes.append({"target_id": target_id, "label": label, **mags})
    columns = expand(photometry.COLUMNS, BANDS)
    frame = pd.DataFrame(fluxes).reindex(columns=[c.name for c in columns]) if fluxes else empty_frame(columns)
    frame = frame.fillna({f"mag_err_{band}": 0.1 for band in BANDS})
    table = pd.DataFrame(facts) if facts else empty_frame(segments.COLUMNS)
    write_table(folder / "segments.parquet", table, segments.COLUMNS)
    write_table(folder / "photometry.parquet", frame, columns)


def build(folder, n=5000, candidates=PICTURES, **changes):
    """Write a page of `n` targets to ``folder/report``; returns the catalogue."""
    rng = np.random.default_rng(2)
    frame = catalogue(n)
    for shard, part in frame.head(candidates).groupby("shard"):
        _shard(folder / "search" / shard, part["target_id"], rng)
    for shard in set(frame["shard"]) - set(frame.head(candidates)["shard"]):
        _shard(folder / "search" / shard, [], rng)
    known = pd.DataFrame({"target_id": [f"SIM{k}" for k in range(KNOWN)], "label": [k < 2 for k in range(KNOWN)]})
    _shard(folder / "train/hp8_00009", known["target_id"], rng)
    known.assign(z=0.3).to_parquet(folder / "train/hp8_00009/systems.parquet")
    paths = {
        "catalogue": str(folder / "candidates.parquet"),
        "next": "",
        "metrics": str(folder / "m.parquet"),
    }
    write_table(
        paths["catalogue"],
        frame,
        COLUMNS,
        {"ranking": "fused", "prevalence": "1e-5", "prevalence_by": "<i>", "fdr": "0.1"},
    )
    values = {
        "head": "fused",
        "part": "overall",
        "name": "all",
        "metric": "auroc",
        "value": 0.9,
        "low": 0.8,
        "high": 1.0,
    }
    write_table(paths["metrics"], pd.DataFrame([{**values, "n_pos": 5, "n_neg": 50}]), METRICS, {"reason": ""})
    files = {
        "matched": "matched.h5",
        "images": "segments.h5",
        "segments": "segments.parquet",
        "photometry": "photometry.parquet",
    }
    for name, file in files.items():
        paths[name] = sorted(map(str, folder.glob(f"search/*/{file}")))
        paths[f"known_{name}"] = sorted(map(str, folder.glob(f"train/*/{file}")))
    paths["known_systems"] = sorted(map(str, folder.glob("train/*/systems.parquet")))
    paths |= {
        "sequence": str(ROOT / "resources/seds/elliptical.csv"),
        "rubric": str(ROOT / "resources/grades/rubric.yaml"),
    }
    paths |= {"template": str(ROOT / "workflow/report/page.html.j2")}
    paths["scripts"] = sorted(map(str, (ROOT / "workflow/report/page").iterdir()))
    report = folder / "report"
    (report / "figures").mkdir(parents=True)
    for name in FIGURES:
        (report / f"figures/{name}.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    (folder / "benchmarks/match").mkdir(parents=True)
    (folder / "benchmarks/match/a.jsonl").write_text(json.dumps({"s": 10.0, "cpu_time": 5.0, "max_rss": 100.0}) + "\n")
    cfg = {
        "candidates": candidates,
        "rows": 100_000,
        "stamp_arcsec": 40,
        "pixel_scale": 1.0,
        "survey": "mock",
        "release": "simulated <b>mock</b>",
    }
    cfg |= {
        "heads": {head: [c.name for c in table[1:]] for head, table in HEADS.items()},
        "bands": BANDS,
        "wavelength": (4800, 6200, 7500),
        "width": (1400, 1400, 1500),
        "filter": (None,) * 3,
    }
    cfg |= {"figures": list(FIGURES), "links": ["simulation"], "benchmarks": str(folder / "benchmarks")}
    cfg |= {"grading": {"duplicates": 0.1, "calibration": 4, "seed": 1}, **changes}
    write_page(paths, str(report / "index.html"), str(report / "page"), cfg, lambda done, total: None)
    return frame
