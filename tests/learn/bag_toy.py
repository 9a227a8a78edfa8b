"""Bags of stamps of which a tandem holds one unlike the others, and the files that hold them."""

import h5py
import numpy as np

from tandemlens.features.stamps import GEOMETRY

BANDS = ["g", "r"]
SIDE = 16


def system(there, rng, n=None):
    """Flux, mask, geometry and labels of a system; a tandem has one blue spot among red ones."""
    n = n or int(rng.integers(3, 7))
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    spot = np.exp(-(x**2 + (y - rng.uniform(-2, 2, (n, 1, 1))) ** 2) / 6)
    colour = np.tile([0.5, 2.0], (n, 1))
    witness = int(rng.integers(1, n))
    if there:
        colour[witness] = [2.5, 0.5]
    flux = colour[:, :, None, None] * spot[:, None] + 0.3 * rng.normal(size=(n, 2, SIDE, SIDE))
    geometry = np.zeros((n, len(GEOMETRY)))
    azimuth = rng.uniform(0, 2 * np.pi, n)
    geometry[:, :5] = np.transpose([rng.uniform(1, 30, n), np.cos(azimuth), np.sin(azimuth), azimuth, azimuth])
    geometry[0], geometry[0, -1] = 0, 1
    return {"flux": flux, "mask": np.ones(flux.shape, bool), "geometry": geometry, "label": 10 * np.arange(n)}, witness


def write_stamps(path, systems, bands=BANDS):
    """stamps.h5 of systems by target, None for one without stamps."""
    parts = [s for s in systems.values() if s is not None]
    counts = [0 if s is None else len(s["label"]) for s in systems.values()]
    stack = {name: np.concatenate([np.zeros((0, *shape)), *(s[name] for s in parts)]) for name, shape in SHAPES.items()}
    with h5py.File(path, "w") as file:
        file.attrs.update({"bands": bands, "geometry": GEOMETRY, "scale": [3.0] * len(bands), "pixel_scale": 0.25})
        for name, dtype in (("flux", "f2"), ("mask", "?"), ("geometry", "f4"), ("label", "i4")):
            file[name] = stack[name].astype(dtype)
        file["sigma"] = np.full(stack["flux"].shape, 0.3, "f2")
        file["target"] = np.repeat(np.arange(len(counts)), counts).astype("i4")
        file["start"] = np.concatenate([[0], np.cumsum(counts)]).astype("i8")
        file.create_dataset("target_id", data=list(systems), dtype=h5py.string_dtype())
    return str(path)


SHAPES = {"flux": (2, SIDE, SIDE), "mask": (2, SIDE, SIDE), "geometry": (len(GEOMETRY),), "label": ()}
