"""CPU time of one simulated system against the same scene through lenstronomy's image simulation, in one run.

Run with ``make setup`` done::

    PYTHONPATH=workflow/scripts OMP_NUM_THREADS=1 .venv/bin/python benchmarks/sky_speed.py [repeats]

480x480 pixels, three bands, a halo with central galaxy, 40 members and shear; 30 galaxies of one cluster behind and 100
field galaxies at their own redshifts, lensed where they lie behind. Both sides sample light on twice the pixels and end
with noiseless images through the PSFs.
"""

import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from lenstronomy.Data.imaging_data import ImageData
from lenstronomy.Data.psf import PSF
from lenstronomy.ImSim.image_model import ImageModel
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LightModel.light_model import LightModel
from lenstronomy.Util.param_util import phi_q2_ellipticity
from outcome import tell
from scipy.special import gamma

from tandemlens.base.cosmology import efficiency
from tandemlens.sky.halo import draw_lens
from tandemlens.sky.lens import DeflectionField
from tandemlens.sky.paint import OVERSAMPLE, Canvas, Galaxy, transfer_functions
from tandemlens.survey.psf import moffat

ROOT = Path(__file__).resolve().parents[1]
SIDE, SCALE, FWHM = 480, 0.25, (1.0, 0.8, 0.75)
Z_LENS, Z_BEHIND = 0.3, 1.0


def scene(rng):
    """A lens and the galaxies in front of, in and behind it."""

    def galaxy(kind, x, y, z, n, flux):
        r_e = float(np.clip(rng.lognormal(-0.7, 0.4), 0.15, 3))
        return Galaxy(kind, x, y, z, r_e, n, rng.uniform(0.4, 1), rng.uniform(0, np.pi), np.array(flux))

    x, y = rng.normal(0, 25, (2, 40))
    lens, _ = draw_lens(rng, Z_LENS, 100.0, x, y, rng.gamma(1, 0.5, 40))
    galaxies = [galaxy("member", *p, Z_LENS, 4.0, [300.0, 1000.0, 1500.0]) for p in zip(x, y, strict=True)]
    galaxies.append(Galaxy("bcg", 0.0, 0.0, Z_LENS, 4.0, 4.0, 0.8, 0.3, np.array([1e4, 4e4, 6e4])))
    galaxies += [galaxy("behind", *p, Z_BEHIND, 4.0, [50.0, 200.0, 900.0]) for p in rng.normal(0, 12, (30, 2))]
    for p in rng.uniform(-60, 60, (100, 2)):
        galaxies.append(galaxy("field", *p, rng.uniform(0.1, 2), 1.0, [300.0, 400.0, 500.0]))
    return lens, galaxies


def run_ours(lens, galaxies, psf):
    canvas = Canvas(SIDE, SCALE, len(FWHM))
    alpha = DeflectionField(lens, SIDE * SCALE / 2 + 1).on_grid(canvas.axis, canvas.axis).astype(np.float32)
    for galaxy in galaxies:
        bend = efficiency(lens.z, galaxy.z)
        if bend > 0:
            canvas.add_lensed(galaxy, alpha, bend)
        else:
            canvas.add(galaxy)
    return canvas.image(transfer_functions(psf, SIDE))


def run_peer(lens, galaxies, psf):
    half = (SIDE - 1) / 2 * SCALE
    data = ImageData(np.zeros((SIDE, SIDE)), ra_at_xy_0=-half, dec_at_xy_0=-half, transform_pix2angle=np.eye(2) * SCALE)
    bends = [efficiency(lens.z, g.z) for g in galaxies]
    behind = [(g, b) for g, b in zip(galaxies, bends, strict=True) if b > 0]
    front = [g for g, b in zip(galaxies, bends, strict=True) if b == 0]
    light = [LightModel(["SERSIC_ELLIPSE"] * len(front))]
    light.append(LightModel(["SERSIC_ELLIPSE"] * len(behind), deflection_scaling_list=[float(b) for _, b in behind]))
    mass = LensModel([m.profile for m in lens.masses])
    images = []
    for band in range(len(FWHM)):
        kernel = PSF("PIXEL", kernel_point_source=psf[band], point_source_supersampling_factor=OVERSAMPLE)
        numerics = {"supersampling_factor": OVERSAMPLE, "supersampling_convolution": True}
        model = ImageModel(data, kernel, mass, light[1], light[0], kwargs_numerics=numerics)
        sersic = [[_sersic(g, band) for g in group] for group in ([g for g, _ in behind], front)]
        images.append(model.image([m.parameters for m in lens.masses], sersic[0], sersic[1]))
    return np.array(images)


def _sersic(galaxy, band):
    b = 1.9992 * galaxy.n - 0.3271
    e1, e2 = phi_q2_ellipticity(galaxy.angle, galaxy.q)
    total = 2 * np.pi * galaxy.n * galaxy.r_e**2 * galaxy.q * np.exp(b) * b ** (-2 * galaxy.n) * gamma(2 * galaxy.n)
    amplitude = galaxy.flux[band] / total
    return {"amp": amplitude, "R_sersic": galaxy.r_e * np.sqrt(galaxy.q), "n_sersic": galaxy.n, "e1": e1, "e2": e2,
            "center_x": galaxy.x, "center_y": galaxy.y}  # fmt: skip


def main(repeats):
    lens, galaxies = scene(np.random.default_rng(5))
    psf = np.array([moffat(83, SCALE / OVERSAMPLE, f) for f in FWHM])
    times, images = [], []
    run_ours(lens, galaxies, psf)
    for _ in range(repeats):
        row = []
        for run in (run_ours, run_peer):
            start = time.process_time()
            images.append(run(lens, galaxies, psf))
            row.append(time.process_time() - start)
        times.append(row)
    ours, peer = np.median(times, axis=0)
    ratios = [b / a for a, b in times]
    tell("lenstronomy", version("lenstronomy"), "CPU time of one simulated three-band system", ratios)
    pixel = np.sqrt(np.mean((images[0] - images[1] * images[0].sum() / images[1].sum()) ** 2)) / images[0].max()
    text = (
        f"One {SIDE}x{SIDE} three-band system, {len(lens.masses)} masses, {len(galaxies)} galaxies, CPU seconds, "
        f"median of {repeats} runs in turn.\n\n| tandemlens | lenstronomy | times faster |\n|---|---|---|\n"
        f"| {ours:.2f} | {peer:.1f} | {np.median(ratios):.0f} ({min(ratios):.0f}-{max(ratios):.0f}) |\n\n"
        f"Both images agree within {pixel:.1e} of the peak (rms).\n"
    )
    print(text)
    (ROOT / "benchmarks/results/sky_speed.md").write_text(text)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
