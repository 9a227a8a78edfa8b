"""Stamps a second that the generator learns from and samples, and the memory that it takes.

::

    PYTHONPATH=workflow/scripts python benchmarks/generator_speed.py [--device cpu] [--threads 2] [--channels 32 64 64]

Random stamps of 6 bands and 32 pixels, as a survey of four bands has them by default; a sample takes 25 steps, twice as
much with guidance or with an anchor mixed in, and again twice where every step is taken twice to keep pixels.
"""

import argparse
import resource
import time

import torch

from tandemlens.learn.classifier import pick_device, reproducible
from tandemlens.learn.diffusion import Denoiser, Sampling, denoising_loss, noise_schedule, sample

BANDS, PIXELS, CONDITIONS = 6, 32, 32


def timed(work, device, at_least=5.0):
    """Calls a second, after one that warms up."""
    work()
    n, started = 0, time.monotonic()
    while time.monotonic() - started < at_least:
        work()
        n += 1
        if device.type == "cuda":
            torch.cuda.synchronize()
    return n / (time.monotonic() - started)


def main():
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--channels", type=int, nargs="+", default=[32, 64, 64])
    given = parser.parse_args()
    device = pick_device(given.device)
    batch = 256 if device.type == "cuda" else 16
    denoiser = Denoiser(BANDS, PIXELS, CONDITIONS, tuple(given.channels), 2).to(device)
    generator = torch.Generator(device).manual_seed(0)
    x = torch.randn(batch, BANDS, PIXELS, PIXELS, device=device)
    valid, condition = torch.ones_like(x, dtype=torch.bool), torch.zeros(batch, CONDITIONS, device=device)
    optimiser, schedule = torch.optim.AdamW(denoiser.parameters()), noise_schedule()

    def step():
        loss = denoising_loss(denoiser, schedule, x, valid, condition, generator)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    def draw(guidance=1.0, mix=1.0, resample=1, **options):
        settings = Sampling(steps=25, eta=1.0, guidance=guidance, mix=mix, resample=resample)
        sample(denoiser, condition, x.shape[1:], settings, generator, **options)

    keep = torch.zeros_like(valid)
    ways = {
        "training": step,
        "sampling": draw,
        "sampling, guided": lambda: draw(guidance=1.5),
        "sampling, anchor mixed in": lambda: draw(mix=0.1, anchor=x),
        "sampling, pixels kept": lambda: draw(resample=2, known=x, keep=keep),
    }
    n = sum(p.numel() for p in denoiser.parameters())
    print(f"{n / 1e6:.2f} million weights on {device}, {given.threads} threads, batches of {batch}")
    with reproducible(device, given.threads):
        for name, work in ways.items():
            print(f"{name}: {batch * timed(work, device):.1f} stamps/s", flush=True)
    if device.type == "cuda":
        print(f"memory: {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB on the GPU")
    print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB")


if __name__ == "__main__":
    main()
