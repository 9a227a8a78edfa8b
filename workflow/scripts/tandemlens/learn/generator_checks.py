"""Checks of the generator on fields that it has not seen: both pools sampled for anchors of role stop."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd

from tandemlens.base.columns.synthetic import CHECKS
from tandemlens.base.errors import InputError
from tandemlens.base.stage import target_rng
from tandemlens.base.tables import empty_frame, write_table
from tandemlens.learn.augment import POOLS, Maker, settings_of
from tandemlens.learn.classifier import pick_device, reproducible
from tandemlens.learn.conditions import physical
from tandemlens.learn.generated_checks import compare
from tandemlens.learn.generator import load_generator
from tandemlens.learn.stamps import Stamps, open_stamps, write_stamps

log = logging.getLogger("tandemlens")
#: numbers that a seed is told apart by from others of the run; stamps of the training that copies are looked for in
_STREAM, _MOST_TRAIN = 9, 3000
#: fewest held-out systems that distributions are compared of
LEAST = 5


def check_generator(
    paths: list[str],
    systems: pd.DataFrame,
    folds: pd.DataFrame,
    generator_dir: str,
    out_table: str,
    out_stamps: str,
    cfg: dict[str, Any],
    progress: Callable[[int, int], None],
) -> None:
    """Sample stamps for held-out systems and compare.

    Parameters
    ----------
    paths : list of str
        stamps.h5 of every shard of the training sample.
    systems, folds : pandas.DataFrame
        systems.parquet of all shards, and folds.parquet.
    generator_dir : str
        models/generator.
    out_table : str
        Rows of `tandemlens.base.columns.synthetic.CHECKS`; none where there is no generator or too little to compare.
    out_stamps : str
        In the layout of stamps.h5: the targets ``real``, ``restored`` and ``generated``, stamp for stamp.
    cfg : dict
        Section ``augment`` of the settings, ``checked`` (systems at most), ``seed`` and ``threads``.
    progress : callable
        Called with systems done and systems in all.
    """
    device = pick_device(cfg["device"])
    role = folds.set_index("target_id")["role"]
    try:
        with open_stamps(paths[0]) as file:
            form, centre = file.format, file.centre_arcsec
        generator = load_generator(generator_dir, paths[0], form)
        generator.denoiser.to(device)
        maker = Maker(generator, physical(systems), *settings_of(cfg), cfg, centre)
        chosen = [
            (name, stamps, maker.choose(stamps)) for name, stamps in _systems(paths, role, "stop", cfg["checked"])
        ]
        held = [(name, stamps, *what) for name, stamps, what in chosen if len(what[0])]
        if len(held) < LEAST:
            raise InputError(
                f"{len(held)} systems of role stop have stamps to vary, at least {LEAST} are compared; enlarge the "
                "training sample (samples.train)"
            )
    except InputError as error:
        log.warning("the generator is not checked: %s", error)
        write_stamps(out_stamps, paths[0], [])
        write_table(out_table, empty_frame(CHECKS), CHECKS, meta={"reason": str(error)})
        return
    parts: dict[str, list[Any]] = {name: [] for name in ("real", *POOLS)}
    with reproducible(device, cfg["threads"]):
        for k, (name, stamps, rows, light) in enumerate(held):
            noise = maker.noise(stamps)
            parts["real"].append(stamps[rows])
            for pool in POOLS:
                torch_rng = maker.torch_rng(target_rng(f"{name}.{pool}", cfg["seed"], _STREAM))
                flux = maker.draw(name, pool, stamps[rows], light, noise, torch_rng)
                parts[pool].append(replace(stamps[rows], flux=flux))
            progress(k + 1, len(held))
    made = {name: Stamps.concatenate(found) for name, found in parts.items()}
    train = [s[maker.choose(s)[0]] for _, s in _systems(paths, role, "train", _MOST_TRAIN // cfg["varied"])]
    train = Stamps.concatenate(train)
    checks = [compare(made["real"], made[pool], train, form.bands, pool, cfg["seed"]) for pool in POOLS]
    write_stamps(out_stamps, paths[0], list(made.items()))
    write_table(out_table, pd.DataFrame([row for rows in checks for row in rows]), CHECKS)


def _systems(paths: list[str], role: pd.Series, wanted: str, most: int) -> list[tuple[str, Stamps]]:
    """Names and stamps of systems of a role, over all shards in turn."""
    found = []
    for path in paths:
        with open_stamps(path) as file:
            names = [k for k, name in enumerate(file.target_ids) if role.get(name) == wanted]
            filled = [k for k in names if file.start[k + 1] > file.start[k]]
            some = filled[: -(-most // len(paths))]
            found += [(file.target_ids[k], file.system(k)) for k in some]
    return found[:most]
