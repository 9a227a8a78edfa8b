"""How a side-by-side benchmark says what came out, for `bench.py` to gather; run alone it prints its own words only."""

import json
import os


def tell(peer, version, what, ratios):
    """Say how many times as good as a peer we are.

    Parameters
    ----------
    peer, version : str
        What it was set beside.
    what : str
        What was compared, such as "CPU time of one system".
    ratios : sequence of float
        One a repeat: above 1 we are better. Of times, that of the peer over ours.
    """
    if path := os.environ.get("BENCH_OUT"):
        row = {"peer": peer, "version": version, "what": what, "ratios": list(map(float, ratios))}
        with open(path, "a", encoding="utf-8") as handle:
            handle.write(json.dumps(row) + "\n")
