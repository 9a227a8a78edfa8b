"""How many tandems a list of targets should hold: second clusters, drawn and weighted to their number on the sky."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from tandemlens.base.columns.expected import COLUMNS
from tandemlens.base.stage import run_targets, target_rng
from tandemlens.base.tables import write_table
from tandemlens.features.sequence import survey_bands
from tandemlens.sky.classes import LEAST_MEMBERS, seen_members
from tandemlens.sky.counts import proposal_weight
from tandemlens.sky.scene import Scene, draw_cluster, draw_second
from tandemlens.sky.simulate import lens_facts
from tandemlens.sky.site import Telescope
from tandemlens.sky.spectra import Spectra

_STREAM = 8


def expect(
    targets: pd.DataFrame,
    cfg: dict[str, Any],
    seds: dict[str, str],
    out_path: str,
    progress: Callable[[int, int], None],
) -> None:
    """Write the expected number of tandems of some targets.

    For every target a lens is drawn, and behind it clusters of uniform redshift, power-law richness and uniform centre;
    the mean over them of weight (`proposal_weight`) times the label is the expected number.

    Parameters
    ----------
    targets : pandas.DataFrame
        The cleaned target table.
    cfg : dict
        ``survey``, ``bands``, ``size_arcsec``, ``seed`` and ``expect``, that section of the settings.
    seds : dict of str
        Name of a galaxy spectrum -> path.
    out_path : str
        expected.parquet.
    progress : callable
    """
    usable = targets[targets["status"] == "ok"].drop_duplicates("canvas")
    chosen = usable.iloc[
        np.unique(np.linspace(0, len(usable) - 1, min(cfg["expect"]["lenses"], len(usable))).astype(int))
    ]
    by_id = chosen.set_index("target_id")
    telescope = Telescope(cfg["survey"], cfg["bands"], cfg["size_arcsec"])
    spectra, rows = Spectra(seds, survey_bands(cfg["survey"], cfg["bands"])), []

    def work(index: int, target_id: str) -> None:
        rng = target_rng(target_id, cfg["seed"], _STREAM)
        facts = expected_of(rng, by_id.loc[target_id], telescope, spectra, cfg["expect"])
        rows.append({"target_id": target_id, **facts})

    run_targets(list(chosen["target_id"]), work, progress)
    write_table(out_path, pd.DataFrame(rows, columns=[c.name for c in COLUMNS]), COLUMNS)


def expected_of(
    rng: np.random.Generator,
    target: Mapping[str, Any],
    telescope: Telescope,
    spectra: Spectra,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Expected number of tandems of one target.

    Parameters
    ----------
    rng : numpy.random.Generator
    target : mapping
        With z and richness.
    telescope : Telescope
    spectra : Spectra
    settings : dict
        Section ``expect`` of the settings.

    Returns
    -------
    dict
        As `tandemlens.base.columns.expected.COLUMNS`, without target_id.
    """
    (z, richness), behind = lens_facts(target, rng), settings["behind"]
    site, _ = telescope.site(rng)
    lens, _, facts = draw_cluster(rng, z, richness, site, spectra)
    scene, drawn = Scene(lens, [], facts, site), []
    for _ in range(settings["draws"]):
        second = draw_second(rng, z, site, spectra, behind)
        drawn.append((second.z, second.richness, seen_members(scene, second) >= LEAST_MEMBERS))
    far, rich, tandem = (np.array(v) for v in zip(*drawn, strict=True))
    limits = (z + behind["dz_min"], behind["z_max"]), (behind["richness_min"], behind["richness_max"])
    weight = proposal_weight(far, rich, z, *limits, behind["richness_slope"], behind["offset_kpc"])
    return {
        "z": z,
        "richness": richness,
        "theta_e": scene.curves(np.nan)[0],
        "draws": len(drawn),
        "tandems": int(tandem.sum()),
        "clusters": float(weight.mean()),
        "expected": float((weight * tandem).mean()),
    }
