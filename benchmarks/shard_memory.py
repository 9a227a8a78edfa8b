"""Peak memory of match, segment and measure on a shard of many systems, each stage in a process of its own.

Run::

    PYTHONPATH=workflow/scripts OMP_NUM_THREADS=1 .venv/bin/python benchmarks/shard_memory.py [systems]
"""

import multiprocessing
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from road_speed import BANDS, ROOT, SCALE, SIZE, scene, silent, wcs_of

from tandemlens.base.config import load_schema, validate_settings
from tandemlens.base.stack import Cutout, header_text, write_stack
from tandemlens.image.match import match_shard
from tandemlens.image.photometry import measure_shard
from tandemlens.image.segment import segment_shard


def peak(work, *arguments):
    """Peak resident memory of a call in a fresh process, MiB."""
    queue = multiprocessing.get_context("spawn").Queue()
    process = multiprocessing.get_context("spawn").Process(target=_measured, args=(queue, work, arguments))
    process.start()
    result = queue.get()
    process.join()
    return result


def _measured(queue, work, arguments):
    work(*arguments, silent)
    queue.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main(n):
    settings = validate_settings(
        {"samples": {"search": {"survey": "mock", "targets": {"catalogue": "none"}}}},
        load_schema(ROOT / "config/schemas/config.schema.yaml"),
    )
    flux, variance, psf, _ = scene(np.random.default_rng(1))
    mask = np.zeros(flux.shape, np.uint16)
    wcs = (header_text(wcs_of((0, 0))),) * 3
    ids = [f"bench-{k:08x}" for k in range(n)]
    row = {"ra": 150.0, "dec": 2.0, "z": 0.3, "ebv": 0.05, "richness": np.nan, "status": "ok"}
    targets = pd.DataFrame([{"target_id": t, "name": t, **row} for t in ids])
    with tempfile.TemporaryDirectory() as name:
        f = Path(name)
        with write_stack(f / "in.h5", BANDS, (SIZE, SIZE), 63) as stack:
            for target_id in ids:
                stack.append(target_id, Cutout(BANDS, flux, variance, mask, psf, wcs))
        scale = {"pixel_scale": SCALE}
        peaks = {
            "match": peak(match_shard, f / "in.h5", f / "m.h5", f / "m.parquet", {**settings["match"], **scale}),
            "segment": peak(
                segment_shard, f / "m.h5", targets, f / "s.parquet", f / "s.h5", f / "st.parquet",
                {**settings["segment"], **scale},
            ),
            "measure": peak(
                measure_shard, f / "m.h5", f / "s.h5", f / "s.parquet", targets, f / "p.parquet", f / "mt.parquet",
                {**settings["measure"], "extinction": [3.2, 2.2, 1.6]},
            ),
        }  # fmt: skip
    lines = [f"Peak resident memory of {n} systems of {SIZE}x{SIZE} pixels in three bands, MiB.", "", "| stage | MiB |"]
    lines += ["|---|---|", *(f"| {stage} | {value:.0f} |" for stage, value in peaks.items())]
    text = "\n".join(lines) + "\n"
    print(text)
    (ROOT / "benchmarks/results/shard_memory.md").write_text(text)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
