"""Time and memory of the exports of a catalogue of 100,000 rows, one format after the other, then all in one job.

    PYTHONPATH=workflow/scripts python benchmarks/exports_speed.py [rows] [long] [hats] [peers]

`long` gives one row a name of 10,000 characters, `hats` writes HATS too, `peers` writes FITS and VOTable with astropy's
tables as well. Memory is that of the process at its highest,
the random catalogue (0.7 GiB with what makes it) included.
"""

import resource
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.table import Table
from outcome import tell

from tandemlens.base.columns.candidates import columns
from tandemlens.base.columns.scores import FUSED
from tandemlens.catalogue.exports import write_exports
from tandemlens.heads.declaration import score_tables

SCRIPTS = Path(__file__).resolve().parents[1] / "workflow/scripts"
HEADS = ("colour", "classic", "pu", "anomaly", "mil")
FORMATS = {"parquet": "parquet", "fits": "fits", "votable": "vot", "csv": "csv", "regions": "reg"}
WORDS = {"reason": 120, "drivers": 160, "attention": 90, "models": 110, "cutout_sha256": 64, "run_id": 12}


def catalogue(wanted, n, rng):
    """Random values; texts as long as real ones are."""
    frame = {}
    for column in wanted:
        if column.dtype == "str":
            width = WORDS.get(column.name, 16)
            frame[column.name] = [f"{k:x}".ljust(width, "-") for k in rng.integers(0, 1 << 40, n)]
        elif column.dtype == "bool":
            frame[column.name] = rng.random(n) < 0.1
        elif column.dtype.startswith("int"):
            frame[column.name] = np.arange(1, n + 1)
        else:
            low, high = column.low or 0.0, 1.0 if column.high is None else column.high
            values = rng.uniform(low, high, n)
            values[rng.random(n) < 0.2 * (column.name not in ("ra", "dec"))] = np.nan
            frame[column.name] = values
    return pd.DataFrame(frame)


def main():
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    tables = score_tables(SCRIPTS)
    heads = {**{name: tables[name] for name in HEADS}, "fused": FUSED}
    wanted = columns(heads, list("grizy"), True, ("erass1", "redmapper"), ("ned", "simbad"))
    frame = catalogue(wanted, n, np.random.default_rng(1))
    if "long" in sys.argv[2:]:
        frame.loc[n // 2, "name"] = "x" * 10_000
    text = sum(c.dtype == "str" for c in wanted)
    print(f"{n} rows, {len(wanted)} columns, {text} of them text; memory before {_peak():.2f} GiB")
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: str(Path(folder) / f"candidates.{suffix}") for name, suffix in FORMATS.items()}
        took = {}
        for name, path in paths.items():
            start = time.perf_counter()
            write_exports(frame, wanted, {"survey": "benchmark"}, {name: path})
            took[name] = time.perf_counter() - start
            size = Path(path).stat().st_size / 2**20
            print(f"{name:8} {took[name]:6.1f} s {size:7.1f} MiB, peak so far {_peak():.2f} GiB")
        print(f"together {sum(took.values()):.1f} s, peak {_peak():.2f} GiB")
        if "peers" in sys.argv[2:]:
            table = Table.from_pandas(frame)
            for name, form in {"fits": "FITS", "votable": "VOTable"}.items():
                start = time.perf_counter()
                table.write(Path(folder) / f"peer.{name}", format=name)
                peer = time.perf_counter() - start
                print(f"{name:8} {peer:6.1f} s by astropy")
                what = f"time to write {n} rows of a catalogue as {form}"
                tell("astropy's tables", version("astropy"), what, [peer / took[name]])
        if "hats" in sys.argv[2:]:
            start = time.perf_counter()
            # its imports alone take seconds, and are part of the job
            from tandemlens.catalogue.partition import write_hats

            write_hats(paths["parquet"], Path(folder) / "hats")
            print(f"hats     {time.perf_counter() - start:6.1f} s, peak so far {_peak():.2f} GiB")


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
