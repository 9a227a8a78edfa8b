"""How fast encoders are trained without labels, whether reading keeps up, and Fast-MoCo against MoCo v3.

::

    PYTHONPATH=workflow/scripts .venv/bin/python benchmarks/pretrain_speed.py speed [--encoders NAME ...] [--threads N]
    PYTHONPATH=workflow/scripts .venv/bin/python benchmarks/pretrain_speed.py race RESULTS/SURVEY
        [--metric knn_auroc] [--reach 0.7 0.75] [--set epochs=20 momentum=0.9 ...]

``speed`` trains on random stamps from a file, of 4 bands and 64 pixels, batches of 512 on a GPU and 64 on a CPU. Busy
is the time of an epoch whose batches lie in memory over that of one which reads and shuffles them. ``race`` takes the
stamps of a finished run: seconds until a probe reaches a number, median of three seeds, times of the probes left out;
--set changes settings of the section pretrain. Probes are fitted to role train and judged on all other roles, for which
one alone is too small. On a CPU seconds are those that it computed, which other work on the machine does not stretch.
"""

import argparse
import logging
import os
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch
import yaml
from torch.utils.data import IterableDataset

from tandemlens.base.config import load_schema, validate_settings
from tandemlens.learn.classifier import reproducible
from tandemlens.learn.encoders import create_encoder
from tandemlens.learn.pretext import PretextSettings, create_pretext
from tandemlens.learn.pretrain import Sample, pretrain
from tandemlens.learn.pretrain_task import PretrainTask, TaskSettings, run_task
from tandemlens.learn.stamps import stamp_blocks
from tandemlens.learn.stream import StampStream
from tandemlens.learn.views import plain_view

ROOT = Path(__file__).parents[1]
BANDS, PIXELS = 4, 64
PRETEXT = PretextSettings(1024, 256, None, 0.99, 0.75, True, 128, 2)
METHODS = ("simsiam", "moco", "fast_moco", "mae")


class InMemory(IterableDataset):
    """Batches of a stream that were read once."""

    def __init__(self, stream):
        super().__init__()
        self.n_stamps, self.batches = stream.n_stamps, list(stream)

    def set_epoch(self, epoch):
        """All epochs are alike."""

    def __iter__(self):
        return iter(self.batches)


def write_random(path, n):
    """Stamps of noise in the layout of stamps.h5, eight to a system."""
    rng, shape = np.random.default_rng(0), (n, BANDS, PIXELS, PIXELS)
    with h5py.File(path, "w") as out:
        out.attrs.update({"bands": list("griz"), "geometry": ["is_centre"], "scale": [1.0] * BANDS, "pixel_scale": 0.2})
        chunks = (16, *shape[1:])
        out.create_dataset("flux", data=rng.normal(size=shape).astype(np.float16), chunks=chunks)
        packed = {"chunks": chunks, "compression": "lzf", "shuffle": True}
        out.create_dataset("sigma", data=np.ones(shape, np.float16), **packed)
        out.create_dataset("mask", data=np.ones(shape, bool), **packed)
        out["geometry"], out["label"] = np.zeros((n, 1), np.float32), np.arange(n, dtype=np.int32) % 8
        out["target"], out["start"] = np.arange(n, dtype=np.int32) // 8, np.arange(0, n + 1, 8)
        out.create_dataset("target_id", data=[f"t{k}" for k in range(n // 8)], dtype=h5py.string_dtype())


def views():
    """The default views."""
    return validate_settings({}, load_schema(ROOT / "config/schemas/views.schema.yaml"))


def clock(device):
    """Seconds: of the clock on the wall with a GPU, else those that this process has computed."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def seconds(name, method, open_stream, settings, device, threads, folder):
    """Time of the last of three epochs; the first ones set up."""
    rng, told = np.random.default_rng(1), []
    pretext = create_pretext(method, create_encoder(name, BANDS, PIXELS, rng), PRETEXT, rng)
    task = PretrainTask(pretext, open_stream, settings, views(), 0, "", lambda *_: told.append(clock(device)))
    run_task(task, device, folder / "bench.ckpt", settings, threads)
    (folder / "bench.ckpt").unlink()
    return told[-1] - told[-2], task.batches * settings.batch


@torch.no_grad()
def scoring(name, stream, device, threads):
    """Time of the second of two passes over stamps by which a frozen encoder scores them."""
    encoder, told = create_encoder(name, BANDS, PIXELS, np.random.default_rng(1)).to(device).eval(), []
    with reproducible(device, threads):
        for _ in range(2):
            told.append(clock(device))
            for batch in stream:
                encoder(plain_view(*(plane.to(device) for plane in (batch.flux, batch.sigma, batch.mask))).x)
    return clock(device) - told[-1]


def speed(encoders, threads, workers):
    """Print a table of stamps a second."""
    gpu = torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")
    batch, n = (512, 32768) if gpu else (64, 512)
    base = TaskSettings(3, 1e9, batch, 1, 1e-3, 0.05, 0.1, 0.0, 0, 0, 1, "full", False)
    variants = {"full": base}
    if gpu:
        variants |= {"bf16": replace(base, precision="bfloat16")}
        variants |= {"bf16 compiled": replace(base, precision="bfloat16", compile=True)}
    where = torch.cuda.get_device_name() if gpu else f"CPU, {threads} threads"
    print(
        f"torch {torch.__version__}, {where}, {os.cpu_count()} cores, {BANDS} bands of {PIXELS} pixels, "
        f"batches of {batch}, {workers} workers"
    )
    print("| encoder | method | numbers | stamps/s from memory | stamps/s read | busy |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_random(folder / "s.h5", n)
        read = partial(_stream, str(folder / "s.h5"), batch)
        held = InMemory(read((0, 1)))
        for encoder in encoders:
            for method in METHODS if "vit" in encoder else METHODS[:3]:
                for numbers, settings in variants.items():
                    if "compiled" in numbers and method != "simsiam":
                        continue
                    fast, stamps = seconds(encoder, method, lambda part: held, settings, device, threads, folder)
                    reading = replace(settings, workers=workers)
                    slow, _ = seconds(encoder, method, read, reading, device, threads, folder)
                    row(encoder, method, numbers, stamps, fast, slow)
            fast, slow = (scoring(encoder, stream, device, threads) for stream in (held, read((0, 1))))
            row(encoder, "scoring", "full", held.n_stamps, fast, slow)


def row(encoder, method, numbers, stamps, fast, slow):
    """Print a row of the table."""
    rates = f"{stamps / fast:.0f} | {stamps / slow:.0f} | {fast / slow:.0%}"
    print(f"| {encoder} | {method} | {numbers} | {rates} |", flush=True)


def _stream(path, batch, part):
    return StampStream([path], batch, 0, drop_last=True, part=part)


def sample_of(results):
    """The stamps and tables of a finished run."""

    def tables(sample, name):
        return pd.concat(map(pd.read_parquet, sorted(results.glob(f"{sample}/*/{name}.parquet"))), ignore_index=True)

    def paths(sample):
        return sorted(map(str, results.glob(f"{sample}/*/stamps.h5")))

    folds = pd.read_parquet(results.parent / "training/folds.parquet")
    places = tables("train", "targets"), tables("search", "targets")
    return Sample(folds, tables("train", "systems"), *places, paths("train"), paths("search"))


def as_settings(changes):
    """Settings from words KEY=VALUE."""
    return {name: yaml.safe_load(value) for name, value in (change.split("=") for change in changes)}


def settings_of(form, encoder, changes, threads):
    """Settings of a pretraining, but for the seed, with some that are changed."""
    given = {"pretrain": changes, "encoder": {"name": encoder}, "views": {}}
    schemas = {name: load_schema(ROOT / f"config/schemas/{name}.schema.yaml") for name in given}
    settings = {name: validate_settings(given[name], schema) for name, schema in schemas.items()}
    cfg = {**settings["pretrain"], "encoder": settings["encoder"], "views": settings["views"]}
    return cfg | {"bands": list(form.bands), "radius_arcmin": 30.0, "softening": 3.0, "threads": threads, "code": {}}


def race(results, metric, targets, encoder, changes, threads):
    """Print seconds until a probe reaches each of some numbers, for both methods."""
    sample = sample_of(results)
    roles = sample.folds["role"].where(sample.folds["role"] == "train", "stop")
    sample = replace(sample, folds=sample.folds.assign(role=roles))
    _, form = stamp_blocks(sample.train_paths, 64)
    cfg = settings_of(form, encoder, {"probe_every": 1, "probe_systems": len(roles), **changes}, threads)
    for method in ("moco", "fast_moco"):
        run = {**cfg, "method": method}
        took = epoch_seconds(sample, {**run, "seed": 0, "epochs": 2, "probe_every": 0})
        found = []
        for seed in range(3):
            curve = pd.DataFrame(trained_curve(sample, {**run, "seed": seed})).dropna()
            passed = [curve.loc[curve[metric] >= target, "epoch"].min() for target in targets]
            found.append(np.multiply(passed, took))
            told = ("loss", "spread", "knn_auroc", "linear_auroc", "radius_r2")
            last = ", ".join(f"{name} {curve[name].iloc[-1]:.3f}" for name in told)
            values = " ".join(f"{value:.3f}" for value in curve[metric])
            print(f"{method} seed {seed}: {metric} {values}; at the end {last}", flush=True)
        told = zip(targets, np.median(np.nan_to_num(found, nan=np.inf), axis=0), strict=True)
        text = ", ".join(f"{target} after {seconds:.0f} s" for target, seconds in told)
        print(f"{method}: {took:.2f} s an epoch, medians: {text}", flush=True)


def epoch_seconds(sample, cfg):
    """Time of the second epoch."""
    told, device = [], torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        pretrain(sample, Path(folder) / "e", Path(folder) / "c", cfg, lambda *_: told.append(clock(device)))
    return told[1] - told[0]


def trained_curve(sample, cfg):
    """Learning curve."""
    with tempfile.TemporaryDirectory() as folder:
        pretrain(sample, Path(folder) / "e", Path(folder) / "c", cfg, lambda *_: None)
        return yaml.safe_load((Path(folder) / "e/encoder.json").read_text())["curve"]


def main():
    """Measure and print."""
    logging.getLogger("tandemlens").addHandler(logging.NullHandler())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "race"])
    parser.add_argument("results", nargs="?", type=Path)
    parser.add_argument("--encoders", nargs="+", default=["compact", "vit_mini_patch8"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--metric", default="knn_auroc", help="of the learning curve")
    parser.add_argument("--reach", type=float, nargs="+", default=[0.75])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of the section pretrain")
    given = parser.parse_args()
    if given.what == "speed":
        speed(given.encoders, given.threads, given.workers)
    else:
        race(given.results, given.metric, given.reach, given.encoders[0], as_settings(given.set), given.threads)


if __name__ == "__main__":
    main()
