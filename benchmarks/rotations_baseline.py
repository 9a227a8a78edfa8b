"""The baseline network on the rotations of `benchmarks/rotations.py`, on a GPU where there is one.

    PYTHONPATH=workflow/scripts python benchmarks/rotations_baseline.py <folder with images.npz and roles.csv> <out.csv>

Needs numpy, torch, torchvision, timm, huggingface_hub and safetensors alone. Every rotation trains the network of the
baseline head with the default settings on its own systems, and scores its test systems. Without a GPU fewer --epochs
make it bearable; the learning rate runs through its cycle in as many.
"""

import argparse
import csv
import logging
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tandemlens.learn.classifier import TrainingSettings, pick_device, reproducible, score_images, train_classifier
from tandemlens.learn.vision import create_network

SETTINGS = TrainingSettings(epochs=30, minutes=240, batch=64, learning_rate=0.003, weight_decay=0.05)


def main():
    """Train and score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("out")
    parser.add_argument("--epochs", type=int, default=SETTINGS.epochs)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder, device, settings = given.folder, pick_device("auto"), replace(SETTINGS, epochs=given.epochs)
    with open(folder / "roles.csv") as handle:
        rows = list(csv.DictReader(handle))
    labels = np.array([row["label"] == "True" for row in rows])
    packed = np.load(folder / "images.npz")["images"]
    images = torch.from_numpy(((packed.astype(np.float32) - 30) / 12).astype(np.float16)).to(device)
    scores = np.full(len(rows), np.nan)
    for k in range(sum(name.startswith("role") for name in rows[0])):
        roles = np.array([row[f"role{k}"] for row in rows])
        rng, started = np.random.default_rng(k), time.monotonic()
        network = create_network("resnet18", rng, in_chans=packed.shape[1], num_classes=1)
        train, stop, test = (np.flatnonzero(roles == role) for role in ("train", "stop", "test"))
        with reproducible(device, given.threads):
            report = train_classifier(network, images, labels, train, stop, settings, rng, device, lambda *_: None)
            scores[test] = score_images(network, images[test], 64, device)
        facts = f"best epoch {report['best_epoch']}, log loss {min(c['stop_loss'] for c in report['curve']):.3f}"
        print(
            f"rotation {k}: {len(train)} systems on {device}, {facts}, {time.monotonic() - started:.0f} s", flush=True
        )
    with open(given.out, "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["target_id", "score"])
        writer.writerows((row["target_id"], score) for row, score in zip(rows, scores, strict=True))


if __name__ == "__main__":
    main()
