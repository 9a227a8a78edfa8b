"""Recompute the digests of a run, or of the trail of one row; ``make verify [TARGET=...] [CONFIG=...]`` runs this."""

import argparse
import sys

from tandemlens.base.errors import TandemlensError
from tandemlens.catalogue.trail import places_of
from tandemlens.catalogue.verify import verify_row, verify_run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", nargs="?", help="target_id, name or rank; all files of the run without")
    parser.add_argument("--configfile", default="config/config.yaml", help="settings of the run")
    asked = parser.parse_args()
    try:
        places = places_of(asked.configfile)
        n, faults = verify_row(asked.target, places) if asked.target else verify_run(places)
    except TandemlensError as error:
        sys.exit(f"tandemlens verify: {error}")
    if faults:
        sys.exit("\n".join([*faults, f"tandemlens verify: {len(faults)} faults in {n} files"]))
    print(f"All {n} files match.")
