"""What every service is: something that finds the files of a target, band by band."""

import logging
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import pandas as pd

from tandemlens.base.config import band_section
from tandemlens.base.errors import DataError
from tandemlens.base.tables import write_table
from tandemlens.survey.cutouts import fetch_shard
from tandemlens.survey.services.client import Client

if TYPE_CHECKING:
    from pathlib import Path

    from tandemlens.base.columns.registry import Column
    from tandemlens.survey.services.cache import Answer

log = logging.getLogger("tandemlens")
#: targets in work for each connection: while one waits for its turn, another is read
_TARGETS_PER_CONNECTION = 3


class Service(Protocol):
    """A survey's data service.

    Made as ``Service(client, survey, bands, size_arcsec, targets)``. `hosts` lists where it asks, so that the
    connections of each can be bounded.
    """

    hosts: ClassVar[tuple[str, ...]]

    def __init__(
        self, client: Client, survey: dict[str, Any], bands: list[str], size_arcsec: float, targets: pd.DataFrame
    ) -> None: ...

    def layers(self, target: dict[str, Any]) -> dict[str, Any]:
        """Bring the files of a target.

        Parameters
        ----------
        target : dict
            Keys target_id, name, ra, dec, source_row.

        Returns
        -------
        dict
            band -> sections image, variance, mask, psf that go over those of the survey file, each naming its file,
            and ``facts`` (`answer_facts`); or the `DataError` of that band.

        Raises
        ------
        DataError
            For a reason that holds for all bands.
        """
        ...


def each_band(bands: Iterable[str], bring: Callable[..., Any]) -> dict[str, Any]:
    """What every band brings, or the reason why it brings nothing: one that fails leaves the others.

    Parameters
    ----------
    bands : iterable of str
    bring : callable
        ``bring(band)``; raises `DataError`.

    Returns
    -------
    dict
        band -> what it brings, or the `DataError`.
    """
    out = {}
    for band in bands:
        try:
            out[band] = bring(band)
        except DataError as error:
            out[band] = error
    return out


def answer_facts(*answers: "Answer") -> dict[str, Any]:
    """Columns of fetch.parquet that tell where a band came from.

    Parameters
    ----------
    *answers : tandemlens.survey.services.cache.Answer
        The image first.

    Returns
    -------
    dict
    """
    total = sum(a.bytes for a in answers)
    return {"bytes": total, "sha256": answers[0].sha256, "tries": sum(a.tries for a in answers)}


def ask_targets(
    row: Callable[..., Any],
    targets: pd.DataFrame,
    columns: "list[Column]",
    settings: dict[str, Any],
    table_path: str,
    progress: Callable[[int, int], None],
) -> dict[str, str]:
    """Ask a service about every target and write what it said, one row a target.

    Parameters
    ----------
    row : callable
        ``row(client, target)``: what the table says of a target, but its name; it raises nothing.
    targets : pandas.DataFrame
        Column target_id, and what `row` looks at.
    columns : list of Column
        Of the table.
    settings : dict
        Section ``fetch`` of the settings.
    table_path : str
        Product.
    progress : callable

    Returns
    -------
    dict of str
        File of an answer -> SHA-256.
    """
    client = Client(settings)
    records, rows = targets.to_dict("records"), []
    with ThreadPoolExecutor(settings["connections"]) as pool:
        for target, said in zip(records, pool.map(lambda t: row(client, t), records), strict=True):
            rows.append({"target_id": target["target_id"], **said})
            progress(len(rows), len(records))
    write_table(table_path, pd.DataFrame(rows, columns=[c.name for c in columns]), columns)
    return client.answers


def question(
    service: str, collection: str, product: str, band: str, target: dict[str, Any], size: float
) -> dict[str, Any]:
    """Name of an answer in the cache: what it is, whoever gave it.

    Parameters
    ----------
    service, collection, product, band : str
    target : dict
        Keys ra, dec, deg.
    size : float
        In units of the service.

    Returns
    -------
    dict
    """
    place = {"ra": round(target["ra"], 7), "dec": round(target["dec"], 7), "size": size}
    return {"service": service, "collection": str(collection), "product": product, "band": band, **place}


def band_labels(survey: dict[str, Any], bands: list[str]) -> dict[str, str]:
    """Names of bands at the service.

    Parameters
    ----------
    survey : dict
    bands : list of str

    Returns
    -------
    dict of str
        Our name -> theirs.
    """
    return {band: survey["bands"][band].get("label", band) for band in bands}


def field_side(survey: dict[str, Any], band: str, size_arcsec: float) -> int:
    """Side of the image to ask for: that of the cutout, or of the larger field that holds stars for its PSF.

    Parameters
    ----------
    survey : dict
    band : str
    size_arcsec : float

    Returns
    -------
    int, pixel
    """
    field = band_section(survey, band, "psf").get("field_arcsec", 0)
    return round(max(size_arcsec, field) / survey["pixel_scale"])


def fetch_from(
    service: type[Service],
    targets: pd.DataFrame,
    cfg: dict[str, Any],
    settings: dict[str, Any],
    stack_path: "str | Path",
    table_path: "str | Path",
    progress: Callable[[int, int], None],
) -> dict[str, str]:
    """Fetch the cutouts of a shard from a service.

    Parameters
    ----------
    service : type
        A class that follows `Service`.
    targets, cfg, stack_path, table_path, progress
        As for `tandemlens.survey.cutouts.fetch_shard`.
    settings : dict
        Section ``fetch`` of the settings: patience and politeness, which change no pixel.

    Returns
    -------
    dict of str
        File that was read -> SHA-256.
    """
    survey = cfg["survey"]
    connections = min(survey["service"]["connections"], settings["connections"])
    client = Client(settings, dict.fromkeys(service.hosts, connections))
    source = service(client, survey, cfg["bands"], cfg["size_arcsec"], targets)
    workers = _TARGETS_PER_CONNECTION * connections * len(service.hosts)
    try:
        return fetch_shard(targets, cfg, stack_path, table_path, progress, source, workers)
    finally:
        told = ", ".join(f"{name} {count}" for name, count in client.counts.items())
        log.info("%s: %s", service.__name__, told)
        print(f"{service.__name__}: {told}", file=sys.stderr)
