"""Feature tables of a simulated training sample and of a searched sky whose truth is known."""

import numpy as np
import pandas as pd

from tandemlens.learn.matrix import feature_names

BANDS = ["g", "r"]
NAMES = feature_names(BANDS)
#: the toys are made for so many features that tell nothing; the others are silent
LOUD = [name for name in NAMES if not name.startswith("second_")]
ROLES = ("train", "train", "train", "stop", "test")
CLASSES = ("tandem", "members", "projected")


def features(n, rng, **shifts):
    """Standard normal features, some moved by so many sigma, a twentieth missing."""
    frame = pd.DataFrame(rng.normal(size=(n, len(LOUD))), columns=LOUD)
    for name, shift in shifts.items():
        frame[name] += shift
    frame = frame.mask(rng.random(frame.shape) < 0.05).reindex(columns=NAMES, fill_value=0.0)
    return frame.assign(status="ok", n_segments=rng.poisson(20, n), n_arcs=rng.poisson(5, n))


def on_sky(frame, ids, rng):
    """Targets far from each other, each a group of its own."""
    n = len(frame)
    ra, dec = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    return frame.assign(target_id=ids, ra=ra, dec=dec, group_id=ids, canvas=ids)


def samples(seed, tandem, contrast, sky, n=150, n_search=400, alpha=0.05):
    """Training sample of n canvases with a system of each class, and targets of which a share alpha are tandems.

    `tandem`, `contrast` and `sky` are the shifts of tandems, of simulated contrasts and of targets that are no tandem.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for kind in CLASSES:
        found = on_sky(
            features(n, rng, **(tandem if kind == "tandem" else contrast)), [f"c{k:03}" for k in range(n)], rng
        )
        found["target_id"] = [f"{name}-{kind}" for name in found["canvas"]]
        role = [ROLES[k % len(ROLES)] for k in range(n)]
        rows.append(
            found.assign(group=found["canvas"], role=role, reason_role="", label=kind == "tandem", **{"class": kind})
        )
    train = pd.concat(rows, ignore_index=True)
    # twins share their canvas, and its place
    train[["ra", "dec"]] = train.groupby("canvas")[["ra", "dec"]].transform("first")
    n_tandem = round(alpha * n_search)
    search = pd.concat(
        [features(n_tandem, rng, **tandem), features(n_search - n_tandem, rng, **sky)], ignore_index=True
    )
    truth = np.arange(n_search) < n_tandem
    return train, on_sky(search, [f"s{k:03}" for k in range(n_search)], rng), truth
