"""PSF-matching kernels side by side: tandemlens, pypher and photutils on the same PSFs, in one run.

Run::

    PYTHONPATH=workflow/scripts:tests .venv/bin/python benchmarks/psf_matching.py

Residual D is the misplaced fraction of the light (Aniano et al. 2011); growth is the largest difference of the growth
curves beyond one FWHM of the target; W- the negative weight of the kernel; time the CPU of one kernel.
"""

import time
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
from outcome import tell
from photutils.psf_matching import SplitCosineBellWindow, make_kernel, make_wiener_kernel
from pypher.pypher import homogenization_kernel
from scipy.signal import fftconvolve

from places import REAL
from psfs import real_pairs, simulated_pairs
from tandemlens.image.psf import matching_kernel
from tandemlens.survey.psf import fwhm, growth_curve

ROOT = Path(__file__).resolve().parents[1]


def ours(psf, target):
    return matching_kernel(psf, target)[0]


def pypher(psf, target):
    return homogenization_kernel(target, psf, reg_fact=1e-4)[0]


def photutils_cosine(psf, target):
    return make_kernel(psf, target, window=SplitCosineBellWindow(alpha=0.35, beta=0.3))


def photutils_wiener(psf, target):
    return make_wiener_kernel(psf, target)


CODES = {f.__name__: f for f in (ours, pypher, photutils_cosine, photutils_wiener)}


def judge(kernel, psf, target):
    """D, largest growth-curve difference beyond one FWHM, negative weight."""
    matched = fftconvolve(psf, kernel, mode="same")
    residual = float(np.abs(matched - target).sum())
    radii = np.arange(fwhm(target), psf.shape[0] // 2)
    growth = float(np.abs(growth_curve(matched, radii) / growth_curve(target, radii) - 1).max())
    return residual, growth, float(-kernel[kernel < 0].sum())


def compare(pairs):
    """Rows (pair, code, D, growth, W-, ms)."""
    rows = []
    for name, (psf, target) in pairs.items():
        for code, make in CODES.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                started = time.process_time()
                kernel = np.asarray(make(psf, target), float)
            took = time.process_time() - started
            rows.append((name, code, *judge(kernel, psf, target), 1e3 * took))
    return rows


def _median(peer, own, column):
    return np.median([peer[pair][column] / own[pair][column] for pair in own])


def main():
    pairs = simulated_pairs() | (real_pairs(REAL) if REAL.is_dir() else {})
    rows = compare(pairs)
    lines = ["| PSFs | code | D | growth | W- | ms |", "|---|---|---|---|---|---|"]
    lines += [f"| {n} | {c} | {d:.5f} | {g:.5f} | {w:.4f} | {t:.1f} |" for n, c, d, g, w, t in rows]
    ranked = [min(r[2] for r in rows if r[0] == n and r[1] != "ours") for n in pairs]
    mine = [r[2] for r in rows if r[1] == "ours"]
    for code in (c for c in CODES if c != "ours"):
        peer, own = ({r[0]: r for r in rows if r[1] == c} for c in (code, "ours"))
        name = "pypher" if code == "pypher" else "photutils"
        told = f"{name} {code.removeprefix('photutils_')}".replace("pypher pypher", "pypher")
        tell(told, version(name), "light misplaced by a kernel (D), median of pairs", [_median(peer, own, 2)])
        tell(told, version(name), "CPU time of a kernel, median of pairs", [_median(peer, own, 5)])
    better = sum(m <= 1.01 * b for m, b in zip(mine, ranked, strict=True))
    lines += ["", f"D no worse than the best peer's (1 per cent) on {better} of {len(pairs)} pairs."]
    text = "\n".join(lines) + "\n"
    print(text)
    (ROOT / "benchmarks/results").mkdir(exist_ok=True)
    (ROOT / "benchmarks/results/psf_matching.md").write_text(text)


if __name__ == "__main__":
    main()
