"""Fetching from the test server through a service, and holding what comes against the server's own sky."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import linregress

from places import ROOT
from skyserver.server import Server
from skyserver.sky import Sky
from tandemlens.base.config import load_schema, load_survey, validate_settings
from tandemlens.base.stack import read_stack
from tandemlens.base.tables import read_table
from tandemlens.survey.services.service import fetch_from

SCHEMAS = ROOT / "config/schemas"


@dataclass
class Fetched:
    """Products of a shard: cutouts by target, fetch.parquet, the questions that the server got, and its sky."""

    cutouts: dict
    table: pd.DataFrame
    asked: list
    sky: Sky

    def band(self, target_id, band):
        """Row of fetch.parquet."""
        rows = self.table[(self.table["target_id"] == target_id) & (self.table["band"] == band)]
        assert len(rows) == 1
        return rows.iloc[0]


def survey_of(name, **service):
    survey = load_survey(name, ROOT / "config/surveys", load_schema(SCHEMAS / "survey.schema.yaml"))
    survey["service"].update(service)
    return survey


def settings_of(server, folder, **changes):
    """Section ``fetch`` with short waits, aimed at the server."""
    quick = {"backoff_seconds": 0.02, "tries": 3, "request_seconds": 20, "shard_minutes": 5}
    own = {"cache": str(folder / "cache"), "mirrors": server.mirrors}
    return validate_settings({**quick, **own, **changes}, load_schema(SCHEMAS / "fetch.schema.yaml"))


def targets_at(*places):
    rows = [
        {"target_id": f"t{k}", "name": f"t{k}", "ra": ra, "dec": dec, "source_row": k}
        for k, (ra, dec) in enumerate(places)
    ]
    return pd.DataFrame(rows)


def fetch(service, survey, folder, places, bands, size=60.0, server=None, **changes):
    """Run a shard of targets, a bright star near each, through a service; `changes` go into section ``fetch``."""
    own = server or Server(Sky(beacons=places))
    start = len(own.asked)
    cfg = {"survey": survey, "bands": list(bands), "data": None, "size_arcsec": size}
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / "cutouts.h5", folder / "fetch.parquet"
    if server is None:
        with own:
            fetch_from(service, targets_at(*places), cfg, settings_of(own, folder, **changes), *out, lambda a, b: None)
    else:
        fetch_from(service, targets_at(*places), cfg, settings_of(own, folder, **changes), *out, lambda a, b: None)
    with read_stack(out[0]) as stack:
        cutouts = {t: stack[k] for k, t in enumerate(stack.target_ids)}
    return Fetched(cutouts, read_table(out[1]), own.asked[start:], own.sky)


def assert_true_flux(fetched, target_id, tolerance=1e-3, bands=None):
    """Flux of a stack against the noiseless sky on its own grid: the slope of one against the other, noise averaged.

    The brightest pixels carry it, so that 0.1 per cent is far above their noise; sky is what is dark in both.
    """
    cutout = fetched.cutouts[target_id]
    for k, band in enumerate(cutout.bands):
        if (bands and band not in bands) or not (cutout.mask[k] == 0).any():
            continue
        truth = fetched.sky.image(cutout.astropy_wcs(k), cutout.flux.shape[1:], band)
        valid = cutout.mask[k] == 0
        slope, error = _slope(truth[valid], cutout.flux[k][valid].astype(float))
        assert error < tolerance / 2.5, f"{band}: too little light lies on the cutout to tell"
        assert abs(slope - 1) < tolerance, (band, slope, error)


def assert_star_places(fetched, target_id, most=0.05):
    """Centroids of the bright stars of a cutout against their places on the sky, arcsec."""
    cutout = fetched.cutouts[target_id]
    ny, nx = cutout.flux.shape[1:]
    seen = 0
    for k in np.flatnonzero(cutout.usable()):
        wcs = cutout.astropy_wcs(k)
        scale = np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix))) * 3600
        middle = wcs.all_pix2world((nx - 1) / 2, (ny - 1) / 2, 0)
        for ra, dec, mag in fetched.sky.stars(float(middle[0]), float(middle[1]), nx / 2 * scale):
            x, y = map(float, wcs.all_world2pix(ra, dec, 0))
            reach = int(np.ceil(1.5 / scale))
            if mag > 20.5 or not (reach < x < nx - reach - 1 and reach < y < ny - reach - 1):
                continue
            if _crowded(fetched.sky, ra, dec):
                continue
            part = slice(round(y) - reach, round(y) + reach + 1), slice(round(x) - reach, round(x) + reach + 1)
            light = cutout.flux[k][part].astype(float)
            if (cutout.mask[k][part] != 0).any():
                continue
            cy, cx = _centroid(light, scale)
            off = np.hypot(cx + part[1].start - x, cy + part[0].start - y) * scale
            assert off < most, (cutout.bands[k], mag, off)
            seen += 1
    assert seen, "no bright star lies on the cutout"


def _slope(truth, seen):
    """Slope of one against the other, and its error by what is left."""
    line = linregress(truth, seen)
    return line.slope, line.stderr


def _crowded(sky, ra, dec):
    cos = np.cos(np.radians(dec))
    near = [np.hypot((r[0] - ra) * cos, r[1] - dec) * 3600 for r in sky.sources(ra, dec, 10)]
    return sum(d < 6 for d in near) > 1


def _centroid(light, scale):
    """Gaussian-weighted centroid, iterated to its fixed point."""
    y, x = np.indices(light.shape, float)
    cy, cx = (n / 2 - 0.5 for n in light.shape)
    sigma = 0.5 / scale
    for _ in range(40):
        weight = np.maximum(light, 0) * np.exp(-0.5 * ((x - cx) ** 2 + (y - cy) ** 2) / sigma**2)
        dy, dx = (weight * y).sum() / weight.sum() - cy, (weight * x).sum() / weight.sum() - cx
        cy, cx = cy + 1.5 * dy, cx + 1.5 * dx
    return cy, cx
