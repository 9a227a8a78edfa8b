"""Stamps per second: cut and written, streamed with 0, 1 and 2 workers, and turned into views.

::

    PYTHONPATH=workflow/scripts OMP_NUM_THREADS=1 .venv/bin/python benchmarks/stamps_speed.py [pixels] [device]

Eight shards of five systems of 480x480 pixels in four bands, white noise with 60 segments each; 64 px and cpu unless
said otherwise. The first pass over the shards warms the cache of the file system and is not counted.
"""

import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader

from tandemlens.base.columns import measure, segments
from tandemlens.base.columns.registry import expand
from tandemlens.base.config import load_schema, validate_settings
from tandemlens.base.stack import Cutout, header_text, write_stack
from tandemlens.base.tables import write_table
from tandemlens.base.wcs import tangent_wcs
from tandemlens.features.stamps import stamps_shard
from tandemlens.learn.stream import StampStream
from tandemlens.learn.views import Views

SCHEMAS = Path(__file__).resolve().parents[1] / "config/schemas"
BANDS, SCALE, SIZE, SHARDS, SYSTEMS, BATCH = ("g", "r", "i", "z"), 0.25, 480, 8, 5, 512


def settings(name):
    return validate_settings({}, load_schema(SCHEMAS / f"{name}.schema.yaml"))


def inputs(folder, rng):
    """Everything that the stage reads, for one shard."""
    names = [f"t{k}" for k in range(SYSTEMS)]
    paths = {name: str(folder / name) for name in ("stack", "images", "segments", "measure")}
    shape = (len(BANDS), SIZE, SIZE)
    wcs = (header_text(tangent_wcs(150, 2, shape[1:], SCALE)),) * len(BANDS)
    extra = {"fwhm": np.float32(1.0), "noise_factor": np.ones((len(BANDS), 6), np.float32)}
    psf, mask, tables = np.ones((len(BANDS), 3, 3)) / 9, np.zeros(shape, np.uint16), []
    with write_stack(paths["stack"], BANDS, shape[1:], 3) as writer, h5py.File(paths["images"], "w") as images:
        for name in names:
            flux = rng.normal(0, 4, shape).astype(np.float32)
            variance = rng.uniform(14, 18, shape).astype(np.float32)
            writer.append(name, Cutout(BANDS, flux, variance, mask, psf, wcs, extra))
            images[f"{name}/labels"], images[f"{name}/detection"] = mask[0], flux[0]
            images[f"{name}/residual"] = flux
            away = rng.uniform(-20, 20, (60, 2))
            place = {"x": 239.5 - away[:, 0] / SCALE, "y": 239.5 + away[:, 1] / SCALE}
            facts = {"east": away[:, 0], "north": away[:, 1], "kind": rng.choice(["arc", "other", "member"], 60)}
            facts |= {"snr": rng.uniform(5, 50, 60), "length": 3.0, "width": 1.0, "theta": 0.5}
            tables.append(pd.DataFrame({**place, **facts, "target_id": name, "label": np.arange(60) + 1}))
    rest = {c.name: "" if c.dtype == "str" else 1 for c in segments.COLUMNS}
    frame = pd.concat(tables).reset_index(drop=True)
    frame = frame.assign(**{name: value for name, value in rest.items() if name not in frame})
    write_table(paths["segments"], frame[list(rest)], segments.COLUMNS)
    columns = expand(measure.COLUMNS, BANDS)
    facts = {c.name: "ok" if c.dtype == "str" else 0.02 for c in columns}
    write_table(paths["measure"], pd.DataFrame({**facts, "target_id": names}), columns)
    return paths, pd.DataFrame({"target_id": names, "z": 0.3, "richness": 40.0})


def report(what, n, seconds):
    print(f"{what}: {n / seconds:.0f} stamps/s ({n} in {seconds:.2f} s)", flush=True)


def main():
    """Measure and print."""
    pixels, device = int((sys.argv[1:] or [64])[0]), (sys.argv[2:] or ["cpu"])[0]
    cfg = {**settings("stamps"), "pixels": pixels, "size_arcsec": pixels * SCALE, "bands": list(BANDS)}
    cfg |= {"extinction": [3.2, 2.3, 1.7, 1.3], "survey_depth": [26.0] * 4, "survey_fwhm": [1.0] * 4}
    cfg["pixel_scale"] = SCALE
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as root:
        outs, spent = [], 0.0
        for k in range(SHARDS):
            folder = Path(root, str(k))
            folder.mkdir()
            paths, targets = inputs(folder, rng)
            outs.append(str(folder / "stamps.h5"))
            started = time.perf_counter()
            stamps_shard(paths, targets, outs[-1], cfg, lambda done, total: None)
            spent += time.perf_counter() - started
        data = StampStream(outs, BATCH, seed=1)
        report("cut and written", data.n_stamps, spent)
        size = sum(Path(out).stat().st_size for out in outs) / data.n_stamps
        print(f"a stamp of {len(BANDS)} bands of {pixels} px takes {size / 1024:.0f} KiB on disk", flush=True)
        kept = list(data)
        for workers in (0, 1, 2):
            loader = DataLoader(data, batch_size=None, num_workers=workers, persistent_workers=workers > 0)
            # the first pass starts the workers
            for _ in loader if workers else ():
                pass
            started = time.perf_counter()
            n = sum(len(batch.number) for _ in range(3) for batch in loader)
            report(f"streamed with {workers} workers", n, time.perf_counter() - started)
    views = Views(settings("views"), torch.Generator(device).manual_seed(1))
    batches = [[t.to(device) for t in batch[:3]] for batch in kept]
    for timed in (False, True):
        started = time.perf_counter()
        total = sum(views(*batch).x.sum() for batch in batches)
        total.item()
        if timed:
            report(f"views on {device}", data.n_stamps, time.perf_counter() - started)


if __name__ == "__main__":
    main()
