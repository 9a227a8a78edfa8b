"""Print the trail of one row of the catalogue; ``make trace TARGET=... [CONFIG=...]`` runs this."""

import argparse
import sys

from tandemlens.base.errors import TandemlensError
from tandemlens.catalogue.trail import find_row, places_of, row_lineage, tell_trail

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", help="target_id, name or rank")
    parser.add_argument("--configfile", default="config/config.yaml", help="settings of the run")
    parser.add_argument("--own", action="store_true", help="leave out the files of other shards")
    asked = parser.parse_args()
    try:
        places = places_of(asked.configfile)
        row = find_row(places, asked.target)
        own, rest = row_lineage(row, places)
    except TandemlensError as error:
        sys.exit(f"tandemlens trace: {error}")
    for line in tell_trail(row, own, None if asked.own else rest):
        print(line)
