"""Every row of a target list full of bad rows and files ends in the catalogue, with its status and no traceback."""

import galsim
import numpy as np
import pandas as pd
import pytest
import yaml
from astropy.io import fits

from tandemlens.base.stack import pixel_digest, read_stack
from tandemlens.base.wcs import tangent_wcs
from tandemlens.survey.psf import moffat
from trees import plant

BANDS, SCALE, SIZE = ("g", "r", "i"), 0.25, 200
SURVEY = {
    "source": "files",
    "release": "test pixels",
    "pixel_scale": SCALE,
    "defaults": {
        "image": {"file": "{name}_{band}.fits"},
        "variance": {"file": "{name}_{band}_var.fits", "kind": "variance"},
        "psf": {"file": "{name}_{band}_psf.fits"},
    },
    "bands": {
        "g": {"wavelength": 4800, "width": 1300, "extinction": 3.2, "filter": "sdss2010-g"},
        "r": {"wavelength": 6200, "width": 1300, "extinction": 2.3, "filter": "sdss2010-r"},
        "i": {"wavelength": 7500, "width": 1300, "extinction": 1.7, "filter": "sdss2010-i"},
    },
}


def sky(rng, flat=False):
    """A red galaxy with straight blue and red arcs in three bands; `flat` leaves only noise."""
    places = [(14, 0), (-12, 8), (3, -15), (-6, -13), (9, 12)]
    colours = rng.normal(0, 0.2, (len(places), 3)) + np.log10([0.5, 0.8, 1.0])
    out = []
    for k in range(3):
        image = galsim.ImageF(SIZE, SIZE, scale=SCALE)
        psf = galsim.Moffat(beta=3.0, fwhm=(1.0, 0.9, 0.8)[k])
        if not flat:
            bcg = galsim.Sersic(4, half_light_radius=2.0, flux=(2e4, 6e4, 1e5)[k])
            galsim.Convolve(bcg, psf).drawImage(image, add_to_image=True)
            for (x, y), colour in zip(places, colours, strict=True):
                bar = galsim.Exponential(half_light_radius=1.2).shear(
                    q=0.15, beta=(np.arctan2(y, x) + np.pi / 2) * galsim.radians
                )
                galsim.Convolve(bar * (8000 * 10 ** colour[k]), psf).shift(x, y).drawImage(image, add_to_image=True)
        out.append(image.array + rng.normal(0, 6, (SIZE, SIZE)))
    return out


class Folder:
    """Files of the targets, whole ones first, then spoiled."""

    def __init__(self, path):
        self.path, self.rows, self.expected, self._rng = path, [], [], np.random.default_rng(1)

    def row(self, name, status, ra=None, dec=2.0, z=0.3, text=None, flat=False, files=True):
        """A row of the list and, if its name can be one, its files."""
        ra = 30 + 1.5 * len(self.rows) if ra is None else ra
        self.rows.append(text or f'"{name}",{ra},{dec},{"" if z is None else z}')
        self.expected.append((name, status))
        if files:
            header = tangent_wcs(float(ra), float(dec), (SIZE, SIZE), SCALE).to_header()
            header["BUNIT"] = "nJy"
            for band, image, fwhm in zip(BANDS, sky(self._rng, flat), (1.0, 0.9, 0.8), strict=True):
                fits.writeto(self.file(name, band), image.astype("f4"), header)
                fits.writeto(self.file(name, band, "_var"), np.full(image.shape, 36.0, "f4"))
                fits.writeto(self.file(name, band, "_psf"), moffat(41, SCALE, fwhm))

    def file(self, name, band, kind=""):
        return self.path / f"{name}_{band}{kind}.fits"

    def change(self, name, kind, work, bands=BANDS):
        """Rewrite image, variance or PSF of some bands with ``work(data, header)``."""
        for band in bands:
            path = self.file(name, band, kind)
            data, header = fits.getdata(path, header=True)
            out = work(data.copy(), header)
            fits.writeto(path, data if out is None else out, header, overwrite=True)


def setitem(key, value):
    def work(data, header):
        data[key] = value
        return data

    return work


def setcard(key, value):
    def work(data, header):
        header[key] = value

    return work


def dropcards(data, header):
    for key in list(header):
        if key.startswith(("CRPIX", "CRVAL", "CTYPE", "CDELT", "PC", "CUNIT")):
            del header[key]


def spoil(f):
    """Thirty kinds of rows; each line names the status that its target must end with."""
    f.row("whole", "scored")
    f.row("no redshift", "scored", z=None)
    f.row("nonsense redshift", "scored", z="unknown")
    f.row("one band missing", "scored")
    f.file("one band missing", "g").unlink()
    f.row("one band all NaN", "scored")
    f.change("one band all NaN", "", setitem(slice(None), np.nan), "i")
    f.row("half NaN", "scored")
    f.change("half NaN", "", setitem((slice(None), slice(0, 60)), np.nan))
    f.row("two bands missing", "too_few_bands")
    for band in "gr":
        f.file("two bands missing", band).unlink()
    f.row("all files missing", "fetch_failed", files=False)
    f.row("all NaN", "masked")
    f.change("all NaN", "", setitem(slice(None), np.nan))
    f.row("mostly NaN", "masked")
    f.change("mostly NaN", "", setitem((slice(None), slice(0, 170)), np.nan))
    f.row("elsewhere", "no_coverage")
    f.change("elsewhere", "", setcard("CRVAL2", 40.0))
    f.row("other side of the sky", "no_coverage")
    f.change("other side of the sky", "", setcard("CRVAL1", 250.0))
    f.row("truncated", "fetch_failed")
    for band in BANDS:
        path = f.file("truncated", band)
        path.write_bytes(path.read_bytes()[:5000])
    f.row("empty file", "fetch_failed")
    f.row("not FITS", "fetch_failed")
    for band in BANDS:
        f.file("empty file", band).write_bytes(b"")
        f.file("not FITS", band).write_text("<html>503 Service Unavailable</html>")
    f.row("no WCS", "fetch_failed")
    f.change("no WCS", "", dropcards)
    f.row("wrong unit", "bad_unit")
    f.change("wrong unit", "", setcard("BUNIT", "furlong"))
    f.row("counts without zero point", "bad_unit")
    f.change("counts without zero point", "", setcard("BUNIT", "ADU"))
    f.row("zero variance", "bad_variance")
    f.change("zero variance", "_var", setitem(slice(None), 0.0))
    f.row("negative variance", "bad_variance")
    f.change("negative variance", "_var", setitem(slice(None), -1.0))
    f.row("variance of another shape", "bad_variance")
    f.change("variance of another shape", "_var", lambda data, header: data[:50, :50])
    f.row("one pixel", "too_small")
    f.change("one pixel", "", lambda data, header: data[:1, :1])
    f.row("PSF with NaN", "bad_psf")
    f.change("PSF with NaN", "_psf", setitem((3, 3), np.nan))
    f.row("PSF of zeros", "bad_psf")
    f.change("PSF of zeros", "_psf", setitem(slice(None), 0.0))
    f.row("flat PSF", "bad_psf")
    f.change("flat PSF", "_psf", setitem(slice(None), 1.0))
    f.row("nothing but noise", "no_segments", flat=True)
    f.row("constant", "bad_variance")
    f.change("constant", "", setitem(slice(None), 3.0))
    f.row("infinite pixels", "scored")
    f.change("infinite pixels", "", setitem((slice(0, 4), slice(0, 4)), np.inf))
    f.row("../../etc/passwd", "fetch_failed", files=False)
    f.row("<script>alert(1)</script>", "fetch_failed", files=False)
    f.row("", "fetch_failed", files=False)
    f.row("dec out of range", "bad_coordinates", dec=95.0, files=False)
    f.row("text for a position", "bad_coordinates", text='"text for a position",here,there,0.3', files=False)
    f.row("no position", "bad_coordinates", text='"no position",,,0.3', files=False)
    f.row("the same again", "duplicate", ra=30.0, files=False)
    f.row("whole", "fetch_failed", ra=200.0, dec=-60.0, files=False)


#: rows into which every class is painted too, and whether that can be done
PAINTED = {"whole": True, "no redshift": True, "one band missing": True, "all NaN": False, "truncated": False}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """Catalogue, expectation, what Snakemake said, page, logs and results of one run over the spoiled folder."""
    folder = tmp_path_factory.mktemp("spoiled")
    files = Folder(folder)
    spoil(files)
    # The last row shares its name, hence its files, with the first; its place is elsewhere.
    files.expected[-1] = ("whole", "no_coverage")
    (folder / "targets.csv").write_text("name,ra,dec,z\n" + "\n".join(files.rows) + "\n")
    search = {"survey": "spoiled", "targets": {"catalogue": str(folder / "targets.csv"), "nside": 1}}
    chosen = [row for row, (name, _) in zip(files.rows, files.expected, strict=True) if name in PAINTED][: len(PAINTED)]
    (folder / "train.csv").write_text("name,ra,dec,z\n" + "\n".join(chosen) + "\n")
    train = {"pixels": "injected", "targets": {"catalogue": str(folder / "train.csv"), "nside": 1}}
    train |= {"simulate": {"twins": True, "tries": 3}}
    samples = {"search": search, "train": train}
    tree = plant(folder / "tree", samples=samples, cutout={"size_arcsec": 48}, data=str(folder))
    (tree.folder / "config/surveys/spoiled.yaml").write_text(yaml.safe_dump(SURVEY, sort_keys=False))
    said = tree.snakemake()
    results = tree.folder / "results"
    catalogue = pd.read_parquet(results / "catalogue/candidates.parquet").sort_values("source_row")
    page = "".join((results / "report" / name).read_text() for name in ("index.html", "page/rows.js", "page/rows/0.js"))
    logs = "\n".join(p.read_text() for p in (results / "logs").rglob("*.log"))
    return catalogue, files.expected, said, page, logs, results


def test_every_row_is_there_once(outcome):
    catalogue, expected, *_ = outcome
    assert len(catalogue) == len(expected) >= 30
    assert list(catalogue["name"].fillna("")) == [name for name, _ in expected]
    assert sorted(catalogue["rank"]) == list(range(1, len(expected) + 1))
    assert catalogue["target_id"].is_unique


def test_every_row_has_its_status(outcome):
    catalogue, expected, *_ = outcome
    got = dict(zip(catalogue["source_row"], catalogue["status"], strict=True))
    wrong = {name: (got[k], status) for k, (name, status) in enumerate(expected) if got[k] != status}
    assert not wrong, catalogue[["name", "status", "reason"]].to_string()


def test_every_row_says_what_its_pixels_are_like_and_what_made_it(outcome):
    catalogue, *_, results = outcome
    digests = {}
    for path in (results / "spoiled/search").glob("*/cutouts.h5"):
        with read_stack(path) as stack:
            digests |= {t: pixel_digest(stack[k]) for k, t in enumerate(stack.target_ids)}
    assert len(digests) >= 8
    assert list(catalogue["cutout_sha256"].fillna("")) == [digests.get(t, "") for t in catalogue["target_id"]]
    by_row = catalogue.set_index("source_row")
    names = catalogue.drop_duplicates("name").set_index("name")
    assert names.loc["whole", "coverage_fraction"] > 0.98
    assert names.loc["half NaN", "coverage_fraction"] == pytest.approx(0.7, abs=0.1)
    assert names.loc["all files missing", "coverage_fraction"] == 0
    assert by_row.loc[by_row["status"] == "bad_coordinates", "coverage_fraction"].isna().all()
    assert names.loc["whole", ["psf_fwhm_g", "psf_fwhm_r", "psf_fwhm_i"]].tolist() == pytest.approx(
        [1, 0.9, 0.8], rel=0.03
    )
    assert np.isnan(names.loc["one band missing", "psf_fwhm_g"])
    assert catalogue["run_id"].nunique() == catalogue["models"].nunique() == 1
    models = dict(word.split(":") for word in catalogue["models"].iloc[0].split())
    assert {"colour", "classic", "fused"} <= models.keys()
    assert {len(word) for word in [*models.values(), catalogue["run_id"].iloc[0]]} == {12}


def test_every_row_without_a_score_says_why(outcome):
    catalogue = outcome[0]
    lost = catalogue[catalogue["status"] != "scored"]
    assert (lost["reason"].str.len() > 10).all()
    assert not catalogue["reason"].str.contains("Traceback").any()
    assert catalogue.loc[catalogue["status"] == "scored", "color_evidence"].notna().all()


def test_no_traceback_is_shown(outcome):
    _, _, said, page, logs, _ = outcome
    for text in (said, page, logs):
        assert "Traceback" not in text


def test_names_cannot_become_html(outcome):
    page = outcome[3]
    assert "<script>alert(1)" not in page
    assert "\\u003cscript>alert(1)" in page


def test_scored_rows_come_first(outcome):
    catalogue = outcome[0].sort_values("rank")
    place = catalogue["status"].map({"scored": 0, "no_segments": 1}).fillna(2)
    assert place.is_monotonic_increasing
    scored = catalogue.loc[catalogue["status"] == "scored", "color_evidence"]
    assert scored.is_monotonic_decreasing


def test_what_is_to_be_painted_into_bad_cutouts_is_not_lost(outcome):
    folder = outcome[-1] / "spoiled/train"
    table, systems = (
        pd.concat(map(pd.read_parquet, folder.glob(f"*/{name}.parquet"))) for name in ("fetch", "systems")
    )
    for name, painted in PAINTED.items():
        mine = table[table["target_id"].str.startswith(name.replace(" ", "_"))]
        assert mine["target_id"].nunique() == 6
        assert (mine["status"] == "ok").any() == painted, mine[["band", "status", "reason"]].to_string()
        assert set(mine["target_id"]) & set(systems["target_id"]) == (set(mine["target_id"]) if painted else set())
        assert (mine.loc[mine["status"] != "ok", "reason"].str.len() > 10).all()
    assert (outcome[-1] / "report/simulation.html").read_text().count("composite of") >= 6
