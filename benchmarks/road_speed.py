"""CPU time of match + segment + measure against SWarp + pypher + SExtractor on the same system, in one run.

Run with ``make setup`` done and Debian's ``swarp`` and ``source-extractor`` installed::

    PYTHONPATH=workflow/scripts OMP_NUM_THREADS=1 .venv/bin/python benchmarks/road_speed.py [repeats]

Both sides start from the same pixels: three 480x480 bands on grids shifted by fractions of a pixel, with their PSFs.
The peer resamples each band (SWarp), makes and applies two kernels (pypher, FFT convolution) and detects and measures
in dual mode (SExtractor, three bands). Imports are counted for neither Python side, as a shard pays them once.
"""

import re
import resource
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import galsim
import numpy as np
import pandas as pd
from astropy.io import fits
from outcome import tell
from pypher.pypher import homogenization_kernel
from scipy.signal import fftconvolve

from tandemlens.base.config import load_schema, validate_settings
from tandemlens.base.stack import Cutout, header_text, write_stack
from tandemlens.base.wcs import tangent_wcs
from tandemlens.image.match import match_shard
from tandemlens.image.photometry import measure_shard
from tandemlens.image.segment import segment_shard

ROOT = Path(__file__).resolve().parents[1]
BANDS, FWHM, SCALE, SIZE = ("g", "r", "i"), (1.1, 0.9, 0.8), 0.262, 480
PROGRAMS = {"SWarp": "SWarp", "SExtractor": "source-extractor"}
SHIFTS = ((0.0, 0.0), (0.31, -0.42), (-0.27, 0.18))


def cpu():
    """CPU seconds of this process and of its finished children."""
    use = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in use)


def wcs_of(shift):
    return tangent_wcs(150.0, 2.0, (SIZE, SIZE), SCALE, shift)


def scene(rng):
    """A BCG with halo, 120 galaxies and 30 stars in three bands: flux (nJy), variance, PSFs, WCSs."""
    n = 150
    places = rng.uniform(-60, 60, (n, 2))
    fluxes = 10 ** rng.uniform(2.6, 4.6, n)
    colours = rng.normal(0, 0.3, (n, 2))
    psf_galsim = [galsim.Moffat(beta=3.0, fwhm=f) for f in FWHM]
    bulge = galsim.Sersic(4, half_light_radius=6, flux=8e5).shear(q=0.7, beta=0.4 * galsim.radians)
    flux, psf = [], []
    for band in range(3):
        boost = 1 if band == 0 else 10 ** (0.4 * colours[:, band - 1])
        parts = [bulge]
        for k in range(n):
            profile = (
                galsim.Exponential(half_light_radius=0.6 + 0.4 * (k % 3)) if k >= 30 else galsim.Gaussian(fwhm=1e-3)
            )
            parts.append((profile.withFlux(fluxes[k] * (boost if np.isscalar(boost) else boost[k]))).shift(*places[k]))
        image = galsim.ImageF(SIZE, SIZE, scale=SCALE)
        for part in parts:
            stamp = galsim.Convolve(part, psf_galsim[band])
            dx, dy = SHIFTS[band]
            stamp.shift(dx * SCALE, dy * SCALE).drawImage(image=image, add_to_image=True, method="auto")
        flux.append(image.array + rng.normal(0, 20, (SIZE, SIZE)))
        psf.append(psf_galsim[band].drawImage(nx=63, ny=63, scale=SCALE, method="auto").array)
    psf = np.array([p / p.sum() for p in psf], np.float32)
    return np.array(flux, np.float32), np.full((3, SIZE, SIZE), 400.0, np.float32), psf, [wcs_of(s) for s in SHIFTS]


def silent(done, total):
    pass


def run_ours(folder, settings):
    """Seconds of CPU of match, segment and measure of the stack in `folder`."""
    targets = pd.read_parquet(folder / "targets.parquet")
    facts = {"pixel_scale": SCALE}
    times = [cpu()]
    match_shard(folder / "in.h5", folder / "m.h5", folder / "m.parquet", {**settings["match"], **facts}, silent)
    times.append(cpu())
    segment_shard(
        folder / "m.h5", targets, folder / "s.parquet", folder / "s.h5", folder / "st.parquet",
        {**settings["segment"], **facts}, silent,
    )  # fmt: skip
    times.append(cpu())
    measure_shard(
        folder / "m.h5", folder / "s.h5", folder / "s.parquet", targets, folder / "p.parquet", folder / "mt.parquet",
        {**settings["measure"], "extinction": [3.2, 2.2, 1.6]}, silent,
    )  # fmt: skip
    times.append(cpu())
    return np.diff(times)


def run_peer(folder):
    """Seconds of CPU of SWarp, pypher and SExtractor on the FITS files in `folder`."""
    quiet = {"cwd": folder, "check": True, "capture_output": True}
    times = [cpu()]
    for band in BANDS:
        subprocess.run(
            ["SWarp", f"{band}.fits", "-IMAGEOUT_NAME", f"{band}.swarp.fits", "-WEIGHTOUT_NAME", f"{band}.w.fits",
             "-CENTER_TYPE", "MANUAL", "-CENTER", "150.0,2.0", "-PIXELSCALE_TYPE", "MANUAL", "-PIXEL_SCALE", str(SCALE),
             "-IMAGE_SIZE", f"{SIZE},{SIZE}", "-WEIGHT_TYPE", "MAP_VARIANCE", "-WEIGHT_IMAGE", f"{band}.var.fits",
             "-SUBTRACT_BACK", "N", "-NTHREADS", "1", "-WRITE_XML", "N"],
            **quiet,
        )  # fmt: skip
    times.append(cpu())
    psf = [fits.getdata(folder / f"{band}.psf.fits") for band in BANDS]
    shutil.copy(folder / "g.swarp.fits", folder / "g.matched.fits")
    for k, band in enumerate(BANDS[1:], 1):
        kernel, _ = homogenization_kernel(psf[0].astype(float), psf[k].astype(float), reg_fact=1e-4)
        image, header = fits.getdata(folder / f"{band}.swarp.fits", header=True)
        fits.writeto(folder / f"{band}.matched.fits", fftconvolve(image, kernel, mode="same").astype("f4"), header)
    times.append(cpu())
    for band in BANDS:
        pair = f"r.matched.fits,{band}.matched.fits"
        subprocess.run(
            ["source-extractor", pair, "-c", "default.sex", "-CATALOG_NAME", f"{band}.cat",
             "-PARAMETERS_NAME", "p.param", "-FILTER_NAME", "c.conv", "-PHOT_APERTURES", "8", "-DETECT_THRESH", "1.5",
             "-DETECT_MINAREA", "5", "-NTHREADS", "1"],
            **quiet,
        )  # fmt: skip
        (folder / f"{band}.cat").unlink()
    times.append(cpu())
    for band in BANDS:
        (folder / f"{band}.matched.fits").unlink()
    return np.diff(times)


def prepare(folder):
    flux, variance, psf, wcs = scene(np.random.default_rng(1))
    mask = np.zeros(flux.shape, np.uint16)
    with write_stack(folder / "in.h5", BANDS, (SIZE, SIZE), 63) as stack:
        stack.append("bench-00000000", Cutout(BANDS, flux, variance, mask, psf, tuple(map(header_text, wcs))))
    row = {"target_id": "bench-00000000", "name": "bench", "ra": 150.0, "dec": 2.0, "z": 0.3, "ebv": 0.05}
    pd.DataFrame([{**row, "richness": np.nan, "status": "ok", "flags": "", "reason": ""}]).to_parquet(
        folder / "targets.parquet"
    )
    for k, band in enumerate(BANDS):
        fits.writeto(folder / f"{band}.fits", flux[k], wcs[k].to_header())
        fits.writeto(folder / f"{band}.var.fits", variance[k], wcs[k].to_header())
        fits.writeto(folder / f"{band}.psf.fits", psf[k])
    (folder / "p.param").write_text(
        "NUMBER\nX_IMAGE\nY_IMAGE\nFLUX_APER(1)\nFLUXERR_APER(1)\nFLUX_AUTO\nFLUX_ISO\nFLAGS\n"
    )
    (folder / "c.conv").write_text("CONV NORM\n1 2 1\n2 4 2\n1 2 1\n")
    (folder / "default.sex").write_text("")


def _version_of(program):
    said = subprocess.run([program, "-v"], capture_output=True, text=True, check=True)
    return re.search(r"version ([\d.]+)", said.stdout + said.stderr)[1]


def main(repeats):
    settings = validate_settings(
        {"samples": {"search": {"survey": "mock", "targets": {"catalogue": "none"}}}},
        load_schema(ROOT / "config/schemas/config.schema.yaml"),
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        run_ours(folder, settings)
        pairs = [(run_ours(folder, settings), run_peer(folder)) for _ in range(repeats)]
    ours, peer = np.median([p[0] for p in pairs], axis=0), np.median([p[1] for p in pairs], axis=0)
    ratios = [a.sum() / b.sum() for a, b in pairs]
    programs = [f"{name} {_version_of(program)}" for name, program in PROGRAMS.items()]
    peers = f"{programs[0]}, pypher {version('pypher')}, {programs[1]}"
    tell(peers, "", "CPU time of match, segment and measure of a three-band system", 1 / np.array(ratios))
    lines = [
        f"One {SIZE}x{SIZE} three-band system, CPU seconds, median of {repeats} runs in turn.",
        "",
        "| tandemlens | s | peer | s |",
        "|---|---|---|---|",
        f"| match | {ours[0]:.3f} | SWarp x3 | {peer[0]:.3f} |",
        f"| segment | {ours[1]:.3f} | pypher kernels + convolution x2 | {peer[1]:.3f} |",
        f"| measure | {ours[2]:.3f} | SExtractor dual mode x3 | {peer[2]:.3f} |",
        f"| sum | {ours.sum():.3f} | sum | {peer.sum():.3f} |",
        "",
        f"Ratio of the sums: median {np.median(ratios):.2f}, range {min(ratios):.2f}-{max(ratios):.2f}.",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    (ROOT / "benchmarks/results/road_speed.md").write_text(text)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
