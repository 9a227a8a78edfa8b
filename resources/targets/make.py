"""Write the shipped target lists of the mock survey's train and known samples; ``python resources/targets/make.py``.

Redshifts and richnesses follow those of redMaPPer clusters in outline: richness above 20 with a density of slope -2.8,
redshift with the volume up to 0.55. Targets lie more than a degree apart, so that each is a field group of its own.
"""

from pathlib import Path

import numpy as np

#: name -> number, cells of the sky (ra, dec) whose middles the targets surround, least richness
LISTS = {
    "train": (40, ((84.4, 9.6), (247.5, 35.7), (123.7, 35.7), (33.8, 4.8)), 32.0),
    "known": (4, ((309.4, 19.5),), 60.0),
}

rng = np.random.default_rng(20263)
for name, (count, cells, least) in LISTS.items():
    rows = ["name,ra,dec,z,richness"]
    for k in range(count):
        ra, dec = cells[k % len(cells)]
        place = k // len(cells)
        z = 0.55 * rng.uniform(0.05, 1) ** (1 / 3)
        richness = least * rng.uniform() ** (-1 / 1.8)
        rows.append(
            f"{name.upper()}-{k:02d},{ra + 1.2 * (place % 3 - 1):.5f},{dec + 1.2 * (place // 3 - 1.5):.5f},"
            f"{z:.3f},{min(richness, 180):.0f}"
        )
    Path(__file__).with_name(f"{name}.csv").write_text("\n".join(rows) + "\n")
