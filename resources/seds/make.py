"""Write the shipped galaxy spectra from the copies that GalSim carries; ``python resources/seds/make.py``.

Coleman, Wu & Weedman (1980, ApJS 43, 393), extended beyond 1400 and 10000 Angstrom by Bolzonella, Miralles & Pello
(2000, A&A 363, 476). Rebinned to steps of 0.5 per cent in wavelength, at which top-hat colours move by < 0.002 mag.
"""

from pathlib import Path

import galsim
import numpy as np

for name, file in (("elliptical", "CWW_E_ext.sed"), ("spiral", "CWW_Scd_ext.sed")):
    wavelength, flux = np.loadtxt(Path(galsim.meta_data.share_dir) / "SEDs" / file).T
    fine = np.geomspace(912, wavelength[-1], 6400)
    step = 10
    mean = np.interp(fine, wavelength, flux).reshape(-1, step).mean(1)
    centre = fine.reshape(-1, step).mean(1)
    rows = [f"{w:.1f},{f / mean.max():.6f}" for w, f in zip(centre, mean, strict=True)]
    head = [
        f"# {name}: Coleman, Wu & Weedman (1980), extended by Bolzonella et al. (2000); flux per Angstrom",
        "wavelength,flux",
    ]
    Path(__file__).with_name(f"{name}.csv").write_text("\n".join(head + rows) + "\n")
