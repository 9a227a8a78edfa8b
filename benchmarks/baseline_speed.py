"""The network of the baseline head on every device there is: equal logits, and images a second.

::

    PYTHONPATH=workflow/scripts .venv/bin/python benchmarks/baseline_speed.py [threads]

Needs numpy, torch, torchvision and timm (with huggingface_hub and safetensors), nothing else. Images are random, of
64 pixels in 4 bands as in the default settings; the first pass on a device is not timed.
"""

import logging
import platform
import sys
import time

import numpy as np
import torch

from tandemlens.learn.classifier import TrainingSettings, reproducible, score_images, train_classifier
from tandemlens.learn.vision import create_network

BANDS, PIXELS, BATCH = 4, 64, 64
TOLERANCE = 1e-3


def images_of(n, rng):
    """Noise with a blob in half of the images, which the labels tell."""
    labels = np.arange(n) % 2 == 1
    y, x = np.mgrid[:PIXELS, :PIXELS] - (PIXELS - 1) / 2
    flux = rng.normal(size=(n, BANDS, PIXELS, PIXELS))
    flux[labels] += 3 * np.exp(-(x**2 + y**2) / 50)
    return torch.from_numpy(np.arcsinh(flux / 3).astype(np.float16)), labels


def trained(device, threads, n, epochs):
    """A network trained on so many images, and the images trained on a second."""
    rng = np.random.default_rng(1)
    images, labels = images_of(n + 2 * BATCH, rng)
    network = create_network("resnet18", rng, in_chans=BANDS, num_classes=1)
    rows = np.arange(len(images))
    with reproducible(device, threads):
        # allocators and kernels are set up by the first step
        warm = TrainingSettings(1, 60, BATCH, 3e-3, 0.05)
        train_classifier(network, images, labels, rows[:BATCH], rows[-BATCH:], warm, rng, device, quiet)
        started = time.perf_counter()
        settings = TrainingSettings(epochs, 60, BATCH, 3e-3, 0.05)
        train_classifier(network, images, labels, rows[:n], rows[-2 * BATCH :], settings, rng, device, quiet)
    return network, epochs * n / (time.perf_counter() - started)


def logits(network, device, threads, n):
    """Scores of the same images on any device, and images scored a second (eight views each)."""
    images, _ = images_of(n, np.random.default_rng(2))
    with reproducible(device, threads):
        score_images(network, images[:BATCH], BATCH, device)
        started = time.perf_counter()
        found = score_images(network, images, BATCH, device)
    return found, n / (time.perf_counter() - started)


def quiet(done, total):
    """No progress: times are what is printed."""


def main():
    """Measure, compare and print; exit 1 where devices disagree."""
    logging.getLogger("tandemlens").addHandler(logging.NullHandler())
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    cpu = torch.device("cpu")
    network, rate = trained(cpu, threads, 512, 1)
    wanted, scored = logits(network, cpu, threads, 256)
    print(f"torch {torch.__version__}, {BANDS} bands of {PIXELS} pixels, batches of {BATCH}")
    print(f"cpu ({platform.processor() or platform.machine()}, {threads} threads): training {rate:.0f} images/s,")
    print(f"    scoring {scored:.0f} images/s with eight views each; logits {wanted.min():.2f} to {wanted.max():.2f}")
    if not torch.cuda.is_available():
        print("no GPU is seen: nothing to compare with")
        return
    gpu = torch.device("cuda")
    found, _ = logits(network, gpu, threads, len(wanted))
    apart = float(np.abs(found - wanted).max())
    first, rate = trained(gpu, threads, 20_000, 2)
    again, _ = trained(gpu, threads, 20_000, 2)
    _, scored = logits(first, gpu, threads, 20_000)
    alike = all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    print(f"{torch.cuda.get_device_name()}: training {rate:.0f} images/s, scoring {scored:.0f} images/s")
    print(
        f"    logits of the same weights differ by at most {apart:.1e}; trained twice: {'equal' if alike else 'other'}"
    )
    if apart > TOLERANCE or not alike:
        sys.exit(f"the devices differ by {apart:.1e} (at most {TOLERANCE:g} is allowed), or training is not repeatable")


if __name__ == "__main__":
    main()
