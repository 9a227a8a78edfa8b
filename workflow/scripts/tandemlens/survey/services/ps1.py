"""Pan-STARRS1 3pi stacks: the list of files of a place, and cutouts of them (facts: STScI's PS1 pages)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tandemlens.base.errors import DataError
from tandemlens.survey.services.checks import FitsCheck
from tandemlens.survey.services.client import BadAnswer, Request
from tandemlens.survey.services.service import answer_facts, band_labels, each_band, field_side, question

if TYPE_CHECKING:
    import pandas as pd

    from tandemlens.survey.services.cache import Answer
    from tandemlens.survey.services.client import Client

_SERVICE = "https://ps1images.stsci.edu"
_COLUMNS = ("projcell", "subcell", "filter", "type", "filename")
#: our layers, and what the service calls them
_TYPES = {"image": "stack", "variance": "stack.wt", "mask": "stack.mask"}


class Ps1:
    """Service of the PS1 stacks.

    Parameters
    ----------
    client : tandemlens.survey.services.client.Client
    survey : dict
    bands : list of str
    size_arcsec : float
    targets : pandas.DataFrame
    """

    hosts = (_SERVICE.removeprefix("https://"),)

    def __init__(
        self, client: "Client", survey: dict[str, Any], bands: list[str], size_arcsec: float, targets: "pd.DataFrame"
    ) -> None:
        self._client, self._release = client, survey["service"]["collection"]
        self._labels = band_labels(survey, bands)
        self._sides = {band: field_side(survey, band, size_arcsec) for band in bands}

    def layers(self, target: dict[str, Any]) -> dict[str, Any]:
        """Bring the files of a target; see `tandemlens.survey.services.service.Service`."""
        files = self._files(target)
        if not files:
            raise DataError("no_coverage", "Pan-STARRS1 has no stack there")
        return each_band(self._labels, lambda band: self._band(target, band, files))

    def _files(self, target: dict[str, Any]) -> list[dict[str, str]]:
        place = {"ra": f"{target['ra']:.7f}", "dec": f"{target['dec']:.7f}"}
        answer = self._client.get(
            Request(
                f"{_SERVICE}/cgi-bin/ps1filenames.py",
                question("ps1", self._release, "files", "", target, 0),
                _rows,
                {**place, "filters": "".join(self._labels.values()), "type": ",".join(_TYPES.values())},
                suffix=".txt",
            )
        )
        return _rows(answer.path)

    def _band(self, target: dict[str, Any], band: str, files: list[dict[str, str]]) -> dict[str, Any]:
        files = [f for f in files if f["filter"] == self._labels[band]]
        images = [f for f in files if f["type"] == _TYPES["image"]]
        if not images:
            raise DataError("no_coverage", f"{band}: Pan-STARRS1 has no stack there")
        cell = {name: images[0][name] for name in ("projcell", "subcell")}
        answers = {}
        for layer, kind in _TYPES.items():
            names = [f["filename"] for f in files if f["type"] == kind and cell.items() <= f.items()]
            if names:
                answers[layer] = self._cutout(target, band, layer, names[0])
        out = {layer: {"file": str(answer.path)} for layer, answer in answers.items()}
        return {**out, "facts": answer_facts(*answers.values())}

    def _cutout(self, target: dict[str, Any], band: str, layer: str, name: str) -> "Answer":
        return self._client.get(
            Request(
                f"{_SERVICE}/cgi-bin/fitscut.cgi",
                question("ps1", self._release, f"{layer} {name}", band, target, self._sides[band]),
                # No look at the weight's sign: where it comes compressed, that of the raw pixels means nothing.
                FitsCheck(({},), place=(target["ra"], target["dec"]), cut=True),
                {
                    "red": name,
                    "ra": f"{target['ra']:.7f}",
                    "dec": f"{target['dec']:.7f}",
                    "size": self._sides[band],
                    "format": "fits",
                },
            )
        )


def _rows(path: Path) -> list[dict[str, str]]:
    """Rows of the list as dicts; refuses an answer that is no such list."""
    lines = Path(path).read_text(encoding="latin-1").splitlines()
    names = lines[0].split() if lines else []
    if not set(_COLUMNS) <= set(names):
        raise BadAnswer(f"the answer is no list of files but begins with {' '.join(names)[:60]!r}")
    rows = [line.split() for line in lines[1:] if line.strip()]
    if any(len(row) != len(names) for row in rows):
        raise BadAnswer("the list of files ends early")
    return [dict(zip(names, row, strict=True)) for row in rows]
