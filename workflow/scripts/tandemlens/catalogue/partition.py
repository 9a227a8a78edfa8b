"""The candidate catalogue as HATS, parts of the sky in Parquet, for crossmatches at scale with LSDB."""

import logging
import os
import shutil
from pathlib import Path

import lsdb
import pyarrow as pa
import pyarrow.parquet as pq
from hats.io import write_parquet_metadata

from tandemlens.base.errors import InputError

log = logging.getLogger("tandemlens")
#: rows of a part
_ROWS = 100_000
#: the margin of a part, in which others find their neighbours beyond its edge, arcsec
_MARGIN = 60.0


def write_hats(table_path: str | Path, folder: str | Path) -> None:
    """Write the rows that have a place.

    Parameters
    ----------
    table_path : str or Path
        candidates.parquet; unit, UCD and description of its columns are kept.
    folder : str or Path
        The collection: the catalogue and its margin.

    Raises
    ------
    InputError
        If no row has a place.
    """
    table = pq.read_table(table_path)
    frame = table.to_pandas()
    placed = frame[frame["ra"].notna() & frame["dec"].notna()]
    if placed.empty:
        raise InputError(f"no row of {table_path} has coordinates, so that HATS has no place for any; unset hats")
    if len(placed) < len(frame):
        log.info("HATS: %d rows without coordinates are left out", len(frame) - len(placed))
    folder = Path(folder)
    temporary = folder.with_name(f".{os.getpid()}.{folder.name}")
    catalogue = lsdb.from_dataframe(
        placed,
        ra_column="ra",
        dec_column="dec",
        schema=table.schema,
        partition_rows=_ROWS,
        margin_threshold=_MARGIN,
        catalog_name="candidates",
    )
    try:
        catalogue.write_catalog(temporary, catalog_name="candidates", progress_bar=False)
        for part in sorted(p.parent for p in temporary.glob("*/dataset")):
            _tell_columns(part, table.schema)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _tell_columns(catalogue: Path, schema: pa.Schema) -> None:
    """Put unit, UCD and description back into the files of a catalogue: LSDB does not keep them."""
    for path in sorted(catalogue.glob("dataset/Norder=*/**/*.parquet")):
        table = pq.read_table(path, partitioning=None)
        facts = {field.name: field.metadata for field in schema}
        told = pa.schema([field.with_metadata(facts.get(field.name)) for field in table.schema])
        pq.write_table(table.cast(told), path, compression="zstd")
    write_parquet_metadata(catalogue, create_per_partition_stats=True)
