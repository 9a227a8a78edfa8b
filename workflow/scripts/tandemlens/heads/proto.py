"""The head of prototypes: how near a system is to few examples of tandems, and how far from all else.

A frozen encoder describes the stamps of a system, and a small embedding is trained through episodes over many simulated
classes, of which some are held out whole. It is used only if it ranks tandems of role stop better, by more than the
error, than SimpleShot does: the nearest mean of the encoder's plain features, with no training at all.
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file

from tandemlens.base.atomic import write_text
from tandemlens.base.columns.grades import LENS, NO_LENS
from tandemlens.base.columns.registry import Column
from tandemlens.base.errors import InputError
from tandemlens.base.tables import write_table
from tandemlens.heads.declaration import Declaration
from tandemlens.learn.bags import Bags
from tandemlens.learn.classifier import pick_device, reproducible
from tandemlens.learn.encoders import create_encoder, load_encoder, new_encoder
from tandemlens.learn.episodes import EpisodeSampler, fine_classes
from tandemlens.learn.episodic import EpisodeTraining, train_episodes
from tandemlens.learn.frozen import Given, freeze_bags
from tandemlens.learn.guard import gain
from tandemlens.learn.pooling import create_embedding
from tandemlens.learn.prototypes import Closeness
from tandemlens.learn.sample import learnt_systems
from tandemlens.learn.shots import Episodes, SimpleShot, lens_prototype
from tandemlens.learn.stamps import Format, refuse_format
from tandemlens.learn.views import Views
from tandemlens.learn.weights import save_weights

if TYPE_CHECKING:
    from tandemlens.learn.encoders import Encoder
    from tandemlens.learn.frozen import FrozenBags
    from tandemlens.learn.shots import Ranking

DECLARATION = Declaration(
    name="proto",
    score="proto",
    kind="real",
    bands=1,
    columns=(
        Column(
            "proto",
            "float64",
            "",
            "log odds of the tandem prototype against all others, at equal shares; NaN if the head was not trained or "
            "the target has no stamp",
            ucd="stat.likelihood",
        ),
        Column(
            "proto_by",
            "str",
            "",
            "episodes, simpleshot, or none where there is no score",
            ucd="meta.code.class;meta.modelled",
        ),
        Column(
            "proto_label",
            "str",
            "",
            "lens or no_lens where its grade is part of a prototype; empty elsewhere",
            ucd="meta.code.class;meta.modelled",
        ),
    ),
    fit_on={
        "run": ("folds", "grades"),
        "train": ("systems", "targets", "stamps"),
        "graded": ("features", "targets", "stamps"),
    },
    score_on=("stamps",),
    environment="deep",
)
log = logging.getLogger("tandemlens")
#: fewest tandems of which a prototype is made, and by which the two ways are compared
LEAST_TRAIN, LEAST_STOP = 5, 2
_FACTS, _WEIGHTS, _NONE = "proto.json", "weights.safetensors", "none"
#: settings that the embedding is made by
_NETWORK = ("width", "layers", "dropout", "distance")


def fit(
    systems: pd.DataFrame,
    folds: pd.DataFrame,
    train_paths: list[str],
    encoder_dir: str | None,
    model_dir: str,
    cfg: dict[str, Any],
    progress: Callable[[int, int], None],
    graded: pd.Series | None = None,
    search_paths: Sequence[str] = (),
) -> None:
    """Train the head.

    Parameters
    ----------
    systems : pandas.DataFrame
        systems.parquet of the whole training sample.
    folds : pandas.DataFrame
        Columns target_id, role and reason; only the roles train and stop are looked at.
    train_paths : list of str
        stamps.h5 of every shard of the training sample.
    encoder_dir : str or None
        models/encoder, for the setting ``pretrained``.
    model_dir : str
        Gets the head. Where a sample cannot be learnt from, or nothing was pretrained, one that scores nothing and
        says why; where there are too few classes for episodes, SimpleShot.
    cfg : dict
        Section ``proto`` of the settings, and ``bands``, ``encoder``, ``views``, ``seed`` and ``threads``.
    progress : callable
        Called with episodes done and episodes at most.
    graded : pandas.Series of bool, optional
        Whether graded targets of the search are lenses, by target_id (`tandemlens.learn.grades.labelled_targets`).
    search_paths : sequence of str
        stamps.h5 of the shards of the search, where those are.

    Raises
    ------
    InputError
        If there is no such device, or the weight file of the encoder is not as declared.
    """
    device, folder, rng = pick_device(cfg["device"]), Path(model_dir), np.random.default_rng(cfg["seed"])
    folder.mkdir(parents=True, exist_ok=True)
    if cfg["pretrained"] and not encoder_dir:
        raise InputError("proto.pretrained is true but this run has no stage pretrain; set it to false")
    try:
        sample = _Sample(systems, folds, train_paths, graded, search_paths)
        form = sample.bags.format
        pretrained = load_encoder(encoder_dir, form.bands, form.pixels) if cfg["pretrained"] and encoder_dir else None
    except InputError as error:
        log.warning("the proto head is not trained: %s", error)
        write_text(folder / _FACTS, json.dumps({"trained": False, "reason": str(error)}, indent=1))
        return
    learnt_from = set(sample.systems.index[sample.role == "train"])
    encoder = pretrained or new_encoder(form, cfg["encoder"], rng, train_paths, learnt_from)
    with reproducible(device, cfg["threads"]):
        ranking, by, report = _fit(sample, encoder, cfg, rng, device, progress)
    state = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    save_weights(folder / _WEIGHTS, state | {f"ranking.{name}": value for name, value in ranking.state_dict().items()})
    made = {"by": by, "encoder": encoder.name, "pretrained": cfg["pretrained"], **{n: cfg[n] for n in _NETWORK}}
    labels = sample.labels_used(cfg["least_graded"])
    facts = {"trained": True, **made, "format": asdict(form), **sample.counts, "labels": labels, **report}
    write_text(folder / _FACTS, json.dumps(facts, indent=1))


def score(stamps_path: str, model_dir: str, out_path: str, cfg: dict[str, Any]) -> None:
    """Score a shard.

    Parameters
    ----------
    stamps_path : str
        stamps.h5 of the shard.
    model_dir : str
        As written by `fit`.
    out_path : str
        scores/proto.parquet: every target of the file; NaN where it has no stamp that can be used, and where no head
        was trained.
    cfg : dict
        Keys batch, device, threads and workers.

    Raises
    ------
    InputError
        If the stamps are of another make than those that the head was fitted to, or there is no such device.
    """
    facts, bags = json.loads((Path(model_dir) / _FACTS).read_text()), Bags([stamps_path])
    table = pd.DataFrame({"target_id": bags.target_ids, "proto": np.nan, "proto_by": _NONE})
    table["proto_label"] = [facts.get("labels", {}).get(name, "") for name in bags.target_ids]
    rows = np.flatnonzero(bags.filled)
    if facts["trained"]:
        refuse_format(stamps_path, bags.format, facts["format"], "proto")
        device = pick_device(cfg["device"])
        with reproducible(device, cfg["threads"]):
            encoder, ranking = _load(facts, Path(model_dir) / _WEIGHTS)
            frozen = freeze_bags(encoder, bags, rows, cfg["batch"], device, workers=cfg["workers"])
            table.loc[rows, "proto"], table.loc[rows, "proto_by"] = ranking(frozen), facts["by"]
    write_table(
        out_path, table.astype({"target_id": "str", "proto_by": "str", "proto_label": "str"}), DECLARATION.table
    )


class _Sample:
    """Bags of the systems that may be looked at, with their classes and roles, and of graded targets."""

    def __init__(
        self,
        systems: pd.DataFrame,
        folds: pd.DataFrame,
        train_paths: list[str],
        graded: pd.Series,
        search_paths: Sequence[str],
    ) -> None:
        used = learnt_systems(systems, folds)[["target_id", "label", "role"]]
        facts = systems[["target_id", "class", "artefact", "theta_e", "n_seen"]]
        used = used.merge(facts, on="target_id", validate="one_to_one").set_index("target_id")
        self.bags = Bags(train_paths, set(used.index))
        self.rows = np.flatnonzero(self.bags.filled)
        known = used.loc[np.array(self.bags.target_ids, object)[self.rows]]
        self.labels, self.role = known["label"].to_numpy(bool), known["role"].to_numpy(object)
        self.systems = known
        self.counts = {}
        for role, least in (("train", LEAST_TRAIN), ("stop", LEAST_STOP)):
            positives, n = int(self.labels[self.role == role].sum()), int((self.role == role).sum())
            self.counts[role] = {"systems": n, "positives": positives}
            if positives < least or positives == n:
                raise InputError(
                    f"role {role} has {positives} tandems of {n} systems with stamps; the proto head needs {least} and "
                    "some other systems: enlarge the training sample (samples.train)"
                )
        graded = pd.Series(dtype=bool) if graded is None else graded
        self.graded = Bags(search_paths, set(graded.index)) if len(graded) and len(search_paths) else None
        self.graded_rows = np.flatnonzero(self.graded.filled) if self.graded else np.zeros(0, int)
        names = np.array(self.graded.target_ids, object)[self.graded_rows] if self.graded else []
        self.graded_lens = graded.reindex(names).to_numpy(bool)
        self.counts["graded"] = {"lenses": int(self.graded_lens.sum()), "others": int((~self.graded_lens).sum())}
        #: what each of them is taken for
        self.taken = dict(zip(names, np.where(self.graded_lens, LENS, NO_LENS).tolist(), strict=True))

    def labels_used(self, least: int) -> dict[str, str]:
        """Grades that are part of a prototype: of lenses only where there are enough."""
        enough = self.graded_lens.sum() >= least
        return {name: label for name, label in self.taken.items() if enough or label != LENS}

    def mask(self, role: str, label: bool) -> np.ndarray:
        """Systems of a role and a label, (n,) bool ndarray."""
        return (self.role == role) & (self.labels == label)


def _fit(
    sample: _Sample,
    encoder: "Encoder",
    cfg: dict[str, Any],
    rng: np.random.Generator,
    device: torch.device,
    progress: Callable[[int, int], None],
) -> "tuple[Ranking, str, dict[str, Any]]":
    """The ranking that is used, its name, and what was found about both."""
    draws = [_views(cfg, rng, device) for _ in range(cfg["drawn_views"])]
    frozen = freeze_bags(encoder, sample.bags, sample.rows, cfg["batch"], device, draws, cfg["workers"])
    graded = freeze_bags(encoder, sample.graded, sample.graded_rows, cfg["batch"], device) if sample.graded else None
    encoder.cpu()
    simple = SimpleShot(2 * encoder.width)
    simple.centre += torch.from_numpy(frozen.plain_means()[sample.role == "train"].mean(0))
    lens, others, classes = _examples(simple, frozen, graded, sample, cfg)
    simple.fit(lens, others, classes)
    try:
        ranking, report = _episodes(sample, encoder, frozen, graded, cfg, rng, progress)
    except InputError as error:
        log.warning("the proto head is SimpleShot: %s", error)
        return simple, "simpleshot", {"reason": str(error)}
    lenses, contrasts = (sample.mask("stop", label) for label in (True, False))
    by_episodes, plain = ranking(frozen), simple(frozen)
    found = gain((by_episodes[lenses], by_episodes[contrasts]), (plain[lenses], plain[contrasts]))
    report |= {"auroc_episodes": found.auc_candidate, "auroc_simpleshot": found.auc_plain, "error": found.error}
    log.info("AUROC on role stop: episodes %.3f, SimpleShot %.3f", found.auc_candidate, found.auc_plain)
    return (ranking, "episodes", report) if found.kept or not cfg["guard"] else (simple, "simpleshot", report)


def _views(cfg: dict[str, Any], rng: np.random.Generator, device: torch.device) -> Views:
    return Views(cfg["views"], torch.Generator(device).manual_seed(int(rng.integers(2**62))))


def _examples(
    ranking: "Ranking", frozen: "FrozenBags", graded: "FrozenBags | None", sample: _Sample, cfg: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Prototype of lenses; vectors of other systems, and their classes."""
    vectors = ranking.vectors_of(frozen)
    real = ranking.vectors_of(graded) if graded else np.zeros((0, vectors.shape[1]), np.float32)
    lens, other = (sample.mask("train", label) for label in (True, False))
    wrong = ~sample.graded_lens
    prototype = lens_prototype(vectors[lens], real[~wrong], cfg["graded_share"], cfg["least_graded"])
    classes = np.concatenate(
        [sample.systems.loc[other, "class"].to_numpy(object), np.full(wrong.sum(), "graded", object)]
    )
    return prototype, np.concatenate([vectors[other], real[wrong]]), classes


def _episodes(
    sample: _Sample,
    encoder: "Encoder",
    frozen: "FrozenBags",
    graded: "FrozenBags | None",
    cfg: dict[str, Any],
    rng: np.random.Generator,
    progress: Callable[[int, int], None],
) -> tuple[Episodes, dict[str, Any]]:
    """Train the embedding and place its prototypes."""
    held = sample.systems["class"].isin(cfg["held_out"]).to_numpy()
    # systems of classes that no episode of the training shows may be of either role
    parts, sizes = (~held & (sample.role == "train"), held), (cfg["shots"], cfg["queries"])
    train, held_out = (_divided(sample.systems, rows, sum(sizes)) for rows in parts)
    samplers = EpisodeSampler(train, cfg["ways"], *sizes), EpisodeSampler(held_out, 2, *sizes)
    geometry = frozen.geometry[0][np.repeat(sample.role == "train", np.diff(frozen.start))]
    network = create_embedding(Given(encoder.width), geometry, cfg, rng)
    closeness = Closeness(cfg["distance"])
    settings = EpisodeTraining(**{field.name: cfg[field.name] for field in fields(EpisodeTraining)})
    report = train_episodes(network, closeness, frozen, *samplers, settings, rng, progress)
    ranking = Episodes(network, closeness, cfg["width"])
    ranking.fit(*_examples(ranking, frozen, graded, sample, cfg)[:2], cfg["prototypes"], cfg["seed"])
    classes = {"classes": sorted(samplers[0].rows), "held_out_classes": sorted(samplers[1].rows)}
    return ranking, {**classes, "left_out": samplers[0].left_out, **report}


def _divided(systems: pd.DataFrame, rows: np.ndarray, least: int) -> np.ndarray:
    """Fine classes of some systems; empty for the others."""
    names = np.full(len(systems), "", dtype=object)
    names[rows] = fine_classes(systems[rows], least)
    return names


def _load(facts: dict[str, Any], path: str | Path) -> "tuple[Encoder, Episodes | SimpleShot]":
    """Encoder and ranking; the weights that are drawn are all replaced."""
    form, rng, state = Format(**facts["format"]), np.random.default_rng(0), load_file(path)
    encoder = create_encoder(facts["encoder"], len(form.bands), form.pixels, rng)
    parts: dict[str, dict[str, torch.Tensor]] = {"encoder": {}, "ranking": {}}
    for name, value in state.items():
        part, rest = name.split(".", 1)
        parts[part][rest] = value
    encoder.load_state_dict(parts["encoder"])
    if facts["by"] == "episodes":
        network = create_embedding(Given(encoder.width), np.zeros((1, len(form.geometry))), facts, rng)
        ranking = Episodes(network, Closeness(facts["distance"]), facts["width"])
    else:
        ranking = SimpleShot(2 * encoder.width)
    ranking.place(*(parts["ranking"][name] for name in ("lens", "others", "share")))
    ranking.load_state_dict(parts["ranking"])
    return encoder, ranking
