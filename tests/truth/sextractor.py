"""Debian's SExtractor as an independent code: detections of one image."""

import subprocess

import numpy as np
from astropy.io import fits
from astropy.table import Table

_FILTER = "CONV NORM\n1 2 1\n2 4 2\n1 2 1\n"


def detect(folder, image, threshold, min_area=5):
    """x, y (0-based pixel) of everything SExtractor finds with its default filter, background and deblending."""
    fits.writeto(folder / "image.fits", image.astype(np.float32), overwrite=True)
    (folder / "default.sex").write_text("")
    (folder / "default.conv").write_text(_FILTER)
    (folder / "p.param").write_text("X_IMAGE\nY_IMAGE\nFLUX_ISO\n")
    command = ["source-extractor", "image.fits", "-c", "default.sex", "-CATALOG_NAME", "out.cat"]
    command += ["-CATALOG_TYPE", "ASCII_HEAD", "-PARAMETERS_NAME", "p.param", "-FILTER_NAME", "default.conv"]
    command += ["-DETECT_THRESH", str(threshold), "-DETECT_MINAREA", str(min_area), "-DEBLEND_MINCONT", "0.005"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    table = Table.read(folder / "out.cat", format="ascii.sextractor")
    return np.column_stack([table["X_IMAGE"], table["Y_IMAGE"]]).astype(float) - 1
