"""Write the shipped galaxy spectra; ``python resources/seds/make.py KCORRECT``.

KCORRECT is the wheel of kcorrect 5.1.9 (BSD-3), or any zip with its template; the other spectra come with GalSim.
Neither is needed once the CSV files are there.

- CWW: Coleman, Wu & Weedman (1980, ApJS 43, 393), extended beyond 1400 and 10000 Angstrom by Bolzonella, Miralles &
  Pello (2000, A&A 363, 476): early_spiral (Sbc), spiral (Scd), irregular (Im). Beyond 22000 Angstrom, where they end,
  they go on with the shape of the red template, since old stars give the light there.
- Faint field galaxies are bluer than any of them: starburst is Im with the slope steepened by 0.7, which brings its
  ultraviolet to f ~ wavelength^-1.7.
- Red: the luminous red galaxy of kcorrect (Blanton & Roweis 2007, AJ 133, 734). Central galaxies of SDSS redMaPPer
  clusters follow it within 0.03 mag in g - r, r - i and i - z over 0.1 < z < 0.3; the elliptical of CWW is redder than
  they are by 0.05 to 0.1 mag in g - r.
- Members are bluer than central galaxies, and both become bluer with redshift than a spectrum without evolution: by 0.2
  mag in g - r at z = 0.4 and in r - i at z = 0.7 (members of DES redMaPPer clusters). A share of Sbc light, as of
  younger stars, describes all three colours at once; a bluer spectrum (Scd, Im) with less of it leaves r - i too red.
  The shares are of the light at 5500 Angstrom, by eye from fits at each redshift; beyond z = 0.8 they stay.
- Nothing was fitted below 2600 Angstrom (g at z = 0.85), and old galaxies at z > 1 are faint there: the younger part
  follows the red template from there down, instead of the Sbc spectrum with its hot stars.

There is no light below 912 Angstrom: hydrogen in and around galaxies absorbs it. Rebinned to steps of 0.5 per cent in
wavelength, at which colours move by < 0.002 mag.
"""

import io
import sys
import zipfile
from itertools import pairwise
from pathlib import Path

import galsim
import numpy as np
from astropy.io import fits

FIRST, LYMAN, LAST, STEP = 700.0, 912.0, 26500.0, 0.005
NORMAL, FITTED_FROM, CWW_ENDS = 5500.0, 2600.0, 22000.0
SEEN = (0.0, 0.2, 0.4, 0.6, 0.8)
#: share of younger light at those redshifts, of members and of central galaxies
YOUNGER = {"elliptical": (0.0, 0.08, 0.22, 0.29, 0.38), "central": (0.0, 0.0, 0.16, 0.25, 0.34)}
STEEPER = 0.7
#: what is left below the Lyman limit: nothing that shows, but a magnitude that is a number
DARK = 1e-6
CWW = "Coleman, Wu & Weedman (1980), extended by Bolzonella et al. (2000)"
RED = "LRG of kcorrect (Blanton & Roweis 2007) with a growing share of CWW Sbc light"


def rebinned(wavelength, flux):
    """Means over the cells of the grid, without light below the Lyman limit, 1 at 5500 Angstrom."""
    edges = np.exp(np.arange(np.log(FIRST), np.log(LAST), STEP))
    fine = np.concatenate([np.linspace(a, b, 20, endpoint=False) for a, b in pairwise(edges)])
    light = np.where(fine < LYMAN, 0.0, np.interp(fine, wavelength, flux) / np.interp(NORMAL, wavelength, flux))
    return np.sqrt(edges[1:] * edges[:-1]), np.maximum(light.reshape(-1, 20).mean(1), DARK)


def red_template(archive):
    """The LRG spectrum out of the wheel."""
    with zipfile.ZipFile(archive) as wheel:
        table = fits.getdata(io.BytesIO(wheel.read("kcorrect/data/templates/kcorrect-lrg1-v4.fits")), 1)
    return rebinned(np.ravel(table["wave"]).astype(float), np.ravel(table["flux"]).astype(float))


def cww_template(name, red):
    """A spectrum of GalSim's share, continued beyond its end with the shape of the red one."""
    wavelength, flux = rebinned(*np.loadtxt(Path(galsim.meta_data.share_dir) / "SEDs" / f"CWW_{name}_ext.sed").T)
    return np.where(wavelength > CWW_ENDS, red * np.interp(CWW_ENDS, wavelength, flux / red), flux)


def write(name, source, wavelength, spectra):
    """One CSV."""
    columns = {key: [f"{v:.6f}" for v in flux] for key, flux in spectra.items()}
    rows = [",".join(row) for row in zip([f"{w:.1f}" for w in wavelength], *columns.values(), strict=True)]
    head = [f"# {name}: {source}; flux per Angstrom", ",".join(["wavelength", *columns])]
    Path(__file__).with_name(f"{name}.csv").write_text("\n".join(head + rows) + "\n")


def main(archive):
    """All CSV files."""
    wavelength, red = red_template(archive)
    late = {name: cww_template(name, red) for name in ("Sbc", "Scd", "Im")}
    followed = red * np.interp(FITTED_FROM, wavelength, late["Sbc"] / red)
    younger = np.where(wavelength < FITTED_FROM, followed, late["Sbc"])
    for name, shares in YOUNGER.items():
        spectra = {f"z{z:.1f}": (1 - s) * red + s * younger for z, s in zip(SEEN, shares, strict=True)}
        write(name, RED, wavelength, spectra)
    for name, key in (("early_spiral", "Sbc"), ("spiral", "Scd"), ("irregular", "Im")):
        write(name, f"{CWW}, {key}", wavelength, {"flux": late[key]})
    bluer = np.where(wavelength < LYMAN, DARK, late["Im"] * (wavelength / NORMAL) ** -STEEPER)
    write("starburst", f"{CWW}, Im, steeper by {STEEPER}", wavelength, {"flux": bluer})


main(sys.argv[1])
