"""The mock survey: simulated lines of sight as a survey of stated seeing and depth would deliver them."""

import numpy as np
import pandas as pd

from tandemlens.base.columns import fetch, systems
from tandemlens.base.columns.registry import expand
from tandemlens.base.columns.truth import COLUMNS
from tandemlens.base.cosmology import efficiency
from tandemlens.base.stack import Cutout, header_text, sanitize, write_stack
from tandemlens.base.stage import run_targets, target_rng
from tandemlens.base.tables import empty_frame, write_table
from tandemlens.base.units import njy_per_unit
from tandemlens.base.wcs import tangent_wcs
from tandemlens.features.sequence import Bands
from tandemlens.sky.paint import OVERSAMPLE, Canvas, transfer_functions
from tandemlens.sky.population import Spectra
from tandemlens.sky.scene import critical_radius, draw_scene, lensed_images
from tandemlens.survey.psf import moffat

PSF_SIZE = 41
#: brightness of a moonless sky, AB mag arcsec^-2; sets the noise that the objects themselves add
SKY_BRIGHTNESS = 21.0
#: what a target without them gets
_REDSHIFTS, _RICHNESS = (0.2, 0.6), 40.0
#: a tandem has at least this many strongly lensed members of one cluster behind, each of at least this ideal S/N
_LEAST_MEMBERS, _LEAST_SNR = 2, 5.0
#: lines of sight drawn for a tandem before the target goes without
_TRIES = 60


def render_shard(targets, survey, bands, size_arcsec, seed, seds, outputs, progress):
    """Render the cutouts of a shard.

    Parameters
    ----------
    targets : pandas.DataFrame
        Rows of the target table.
    survey : dict
        As checked by ``survey.schema.yaml``, source mock.
    bands : list of str
    size_arcsec : float
        Side of the cutouts, arcsec.
    seed : int
        Every target draws from its own generator of this seed and its name, whatever its neighbours.
    seds : dict of str
        Paths of the spectra ``elliptical`` and ``spiral``.
    outputs : dict of str
        Paths ``stack`` (cutouts.h5), ``table`` (fetch.parquet), ``truth`` and ``systems``.
    progress : callable
    """
    telescope = Telescope(survey, bands, size_arcsec, seds)
    truth, rows, drawn = [], [], []
    by_id = targets.set_index("target_id")
    with write_stack(outputs["stack"], bands, (telescope.side, telescope.side), PSF_SIZE) as stack:

        def work(index, target_id):
            target = by_id.loc[target_id]
            rng = target_rng(target_id, seed)
            scene, images, facts = _draw(rng, target, survey["mock"], telescope)
            cutout, painted = telescope.observe(scene, target["ra"], target["dec"], rng)
            stack.append(target_id, cutout)
            truth.append(pd.concat([painted, images], axis=1).assign(target_id=target_id))
            drawn.append({"target_id": target_id, **facts})

        status = run_targets(list(targets["target_id"]), work, progress)
    for row in status.itertuples():
        for band in bands:
            facts = {"status": row.status, "reason": row.reason, "bytes": 0, "sha256": "", "n_psf_stars": 0}
            fwhm = survey["bands"][band]["mock"]["fwhm"]
            measured = {"psf_fwhm": fwhm, "psf_quality": np.nan, "noise_ratio": np.nan, "coverage": 1.0}
            rows.append({"target_id": row.target_id, "band": band, **facts, **measured, "release": survey["release"]})
    write_table(outputs["table"], pd.DataFrame(rows, columns=[c.name for c in fetch.COLUMNS]), fetch.COLUMNS)
    columns = expand(COLUMNS, bands)
    write_table(outputs["truth"], pd.concat([empty_frame(columns), *truth], ignore_index=True), columns)
    names = [c.name for c in systems.COLUMNS]
    write_table(outputs["systems"], pd.DataFrame(drawn, columns=names), systems.COLUMNS)


def _draw(rng, target, shares, telescope):
    """A line of sight of the class that the target drew, its images, and the row of systems.parquet."""
    z = target["z"] if np.isfinite(target["z"]) else rng.uniform(*_REDSHIFTS)
    richness = target["richness"] if np.isfinite(target["richness"]) else _RICHNESS
    edges = shares["tandem"], shares["tandem"] + (1 - shares["tandem"]) * shares["projected"]
    wanted = ("tandem", "projected", "alone")[int(np.searchsorted(edges, rng.uniform(), side="right"))]
    tries = 0
    while True:
        tries += 1
        scene = draw_scene(rng, z, richness, wanted != "alone", telescope.size, telescope.spectra)
        alpha = scene.field.on_grid(telescope.search, telescope.search)
        snr = _strong_members(scene, alpha, telescope) if wanted != "alone" else pd.Series(dtype=float)
        seen = int((snr > _LEAST_SNR).sum())
        tandem = seen >= _LEAST_MEMBERS
        if tandem == (wanted == "tandem") or tries == _TRIES:
            break
    images = lensed_images(scene, scene.galaxies, telescope.search, alpha).assign(snr=snr)
    found = "tandem" if tandem else "alone" if wanted == "alone" else "projected"
    why = f"{seen} members of a cluster behind are strongly lensed and above S/N {_LEAST_SNR:g}"
    facts = {"class": found, "label": tandem, "why": why, "tries": tries, "z": z, "richness": richness}
    facts |= {"n_strong": len(snr), "theta_e": critical_radius(scene, telescope.search, alpha)}
    return scene, images, {**facts, **scene.facts}


def _strong_members(scene, alpha, telescope):
    """Ideal S/N of the strongly lensed members behind, by their place in the list of galaxies."""
    behind = [k for k, g in enumerate(scene.galaxies) if g.kind == "behind"]
    strong = lensed_images(scene, [scene.galaxies[k] for k in behind], telescope.search, alpha)["strong"].to_numpy()
    chosen = [k for k, s in zip(behind, strong, strict=True) if s]
    # one alone makes no tandem: its S/N is not worth an image during the search
    if len(chosen) < _LEAST_MEMBERS:
        return pd.Series(np.nan, index=chosen, dtype=float)
    values = telescope.ideal_snr(scene, [scene.galaxies[k] for k in chosen])
    return pd.Series(values, index=chosen, dtype=float)


class Telescope:
    """A survey's pixels: grid, PSFs and noise.

    Parameters
    ----------
    survey : dict
        As checked by ``survey.schema.yaml``, source mock.
    bands : list of str
    size_arcsec : float
    seds : dict of str
    """

    def __init__(self, survey, bands, size_arcsec, seds):
        self.names, self.size, self.scale = tuple(bands), size_arcsec, survey["pixel_scale"]
        self.side = round(size_arcsec / self.scale)
        #: grid on which images are looked for, arcsec
        self.search = (np.arange(self.side) - (self.side - 1) / 2) * self.scale
        facts = [survey["bands"][band] for band in bands]
        bands = Bands(self.names, tuple(f["wavelength"] for f in facts), tuple(f["width"] for f in facts))
        self.spectra = Spectra(seds, bands)
        widths = [f["mock"]["fwhm"] for f in facts]
        area = [np.pi * (fwhm / self.scale) ** 2 for fwhm in widths]
        faintest = [njy_per_unit(f["mock"]["depth"]) for f in facts]
        self.sigma = np.array([limit / 5 / np.sqrt(a) for limit, a in zip(faintest, area, strict=True)])
        self.sky = njy_per_unit(SKY_BRIGHTNESS) * self.scale**2
        odd = PSF_SIZE * OVERSAMPLE + 1
        self._transfer = transfer_functions(
            np.array([moffat(odd, self.scale / OVERSAMPLE, w) for w in widths]), self.side
        )
        self.psf = np.array([_pixel_psf(w, self.scale) for w in widths], np.float32)

    def observe(self, scene, ra, dec, rng):
        """Cutout of a scene with noise, and a table of what was painted.

        Parameters
        ----------
        scene : Scene
        ra, dec : float, deg
        rng : numpy.random.Generator

        Returns
        -------
        cutout : Cutout
        painted : pandas.DataFrame
            One row per galaxy.
        """
        canvas = Canvas(self.side, self.scale, len(self.names))
        gains = self._paint(canvas, scene, scene.galaxies, self._bending(scene, canvas))
        # every band's pixel grid lies a little elsewhere, as those of real surveys do
        dither = rng.uniform(-0.5, 0.5, (len(self.names), 2))
        clean = np.maximum(canvas.image(self._transfer, dither), 0)
        variance = self.sigma[:, None, None] ** 2 * (1 + clean / self.sky)
        flux = clean + rng.normal(0, np.sqrt(variance))
        wcs = tuple(header_text(tangent_wcs(ra, dec, (self.side, self.side), self.scale, shift)) for shift in dither)
        cutout = Cutout(self.names, flux, variance, np.zeros(flux.shape, np.uint16), self.psf, wcs)
        rows = [
            {"kind": g.kind, "east": -g.x, "north": g.y, "z": g.z, "magnification": gain}
            | {f"flux_{b}": f * gain for b, f in zip(self.names, g.flux, strict=True)}
            for g, gain in zip(scene.galaxies, gains, strict=True)
        ]
        return sanitize(cutout), pd.DataFrame(rows)

    def ideal_snr(self, scene, galaxies):
        """Matched-filter S/N of the lensed light of galaxies over all bands, against the noise of the sky alone.

        Parameters
        ----------
        scene : Scene
        galaxies : list of Galaxy

        Returns
        -------
        list of float
            One a galaxy.
        """
        alpha, out = None, []
        for galaxy in galaxies:
            canvas = Canvas(self.side, self.scale, len(self.names))
            alpha = self._bending(scene, canvas) if alpha is None else alpha
            self._paint(canvas, scene, [galaxy], alpha)
            out.append(float(np.linalg.norm(canvas.image(self._transfer) / self.sigma[:, None, None])))
        return out

    @staticmethod
    def _bending(scene, canvas):
        return scene.field.on_grid(canvas.axis, canvas.axis).astype(np.float32)

    def _paint(self, canvas, scene, galaxies, alpha):
        gains = []
        for galaxy in galaxies:
            bend = efficiency(scene.lens.z, galaxy.z)
            gains.append(canvas.add_lensed(galaxy, alpha, bend) if bend > 0 else 1.0)
            if bend == 0:
                canvas.add(galaxy)
        return gains


def _pixel_psf(fwhm, scale):
    """The PSF of a pixel is the fine one averaged over the fine pixels of a pixel."""
    fine = moffat(OVERSAMPLE * PSF_SIZE, scale / OVERSAMPLE, fwhm)
    psf = fine.reshape(PSF_SIZE, OVERSAMPLE, PSF_SIZE, OVERSAMPLE).sum((1, 3))
    return psf / psf.sum()
