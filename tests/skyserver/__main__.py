"""The test server as a process of its own: ``python -m skyserver --help``."""

import argparse
import json
import sys
import threading

import pandas as pd

from skyserver import vizier
from skyserver.server import FAULTS, Server
from skyserver.sky import Sky


def main():
    """Serve until standard input ends; the first line said is where, as settings of ``fetch.mirrors``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before every answer")
    parser.add_argument("--faults", type=float, default=0.0, help="share of the answers that are faulty")
    parser.add_argument("--kinds", default=",".join(FAULTS), help="kinds of faults")
    parser.add_argument("--slow", type=float, default=30.0, help="seconds of a stall and a delay")
    parser.add_argument("--targets", help="CSV with ra and dec of places where clusters with arcs stand")
    parser.add_argument("--redmapper", help="CSV that is served as the redMaPPer catalogue of SDSS")
    parser.add_argument("--forever", action="store_true", help="do not stop when standard input ends")
    chosen = parser.parse_args()
    sky = Sky(pd.read_csv(chosen.targets)[["ra", "dec"]].to_numpy() if chosen.targets else ())
    if chosen.redmapper:
        vizier.TABLES["J/ApJS/224/1/cat_dr8"] = vizier.Served(redmapper(pd.read_csv(chosen.redmapper)))
    with Server(sky, chosen.latency, chosen.faults, chosen.kinds.split(","), chosen.slow, port=chosen.port) as server:
        print(json.dumps(server.mirrors), flush=True)
        threading.Event().wait() if chosen.forever else sys.stdin.read()


def redmapper(table):
    """Columns of the catalogue under the names that VizieR gives them."""
    names = {"name": "Name", "RA": "RAJ2000", "dec": "DEJ2000", "redshift": "zlambda", "lambda": "lambda"}
    return {theirs: table[ours].tolist() for ours, theirs in names.items()}


if __name__ == "__main__":
    main()
