"""Recompute the digests of a run, or of the trail of one row; ``make verify [TARGET=...] [CONFIG=...]`` runs this."""

import argparse
import sys

from tandemlens.base.errors import TandemlensError
from tandemlens.catalogue.trail import find_row, places_of, row_lineage
from tandemlens.catalogue.verify import verify_lineage, verify_run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", nargs="?", help="target_id, name or rank; all files of the run without")
    parser.add_argument("--configfile", default="config/config.yaml", help="settings of the run")
    asked = parser.parse_args()
    try:
        places = places_of(asked.configfile)
        if asked.target:
            n, faults = verify_lineage(row_lineage(find_row(places, asked.target), places)[0])
        else:
            n, faults = verify_run(places)
    except TandemlensError as error:
        sys.exit(f"tandemlens verify: {error}")
    if faults:
        sys.exit("\n".join([*faults, f"tandemlens verify: {len(faults)} faults in {n} files"]))
    print(f"All {n} files match.")
