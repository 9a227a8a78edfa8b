"""How long the inspection page takes to build and to list its targets.

::

    PYTHONPATH=workflow/scripts:tests:tests/page .venv/bin/python benchmarks/page_speed.py [targets ...]

For every number of targets (5,000 and 100,000 if none is given) a catalogue is written with pictures of its best 60,
the page is built of it in a process of its own, and Chromium opens it from disk: seconds until the list stands, and the
time of a frame while the list is scrolled to its end. Needs Chromium and what the tests need.
"""

import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright
from scene import build

#: scrolls through the whole list in so many frames and gives the length of each, ms
_SCROLL = """async (frames) => {
  const box = document.querySelector("#rows"), took = [];
  let last = performance.now();
  for (let k = 1; k <= frames; k += 1) {
    box.scrollTop = (box.scrollHeight - box.clientHeight) * k / frames;
    await new Promise(requestAnimationFrame);
    took.push(performance.now() - last);
    last = performance.now();
  }
  return took;
}"""
_FRAMES = 120


def built(folder, targets, said):
    """Build a page; puts seconds and MiB into a queue. Writing the catalogue counts."""
    started = time.perf_counter()
    build(Path(folder), n=targets)
    said.put((time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def listed(browser, folder):
    """Seconds until the list stands, seconds of a search in it, and frames while it is scrolled, ms."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    started = time.perf_counter()
    page.goto(f"file://{folder}/report/index.html#list")
    page.wait_for_selector("#rows .row")
    opened = time.perf_counter() - started
    frames = sorted(page.evaluate(_SCROLL, _FRAMES))
    started = time.perf_counter()
    page.fill("#list-query", "cluster 49")
    page.wait_for_function("document.querySelector('#rows .row .name').textContent.includes('Cluster 49')")
    found = time.perf_counter() - started
    page.close()
    return opened, found, frames


def main(numbers):
    context = multiprocessing.get_context("spawn")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        browser.new_page().close()
        for targets in numbers:
            with tempfile.TemporaryDirectory() as folder:
                said = context.Queue()
                job = context.Process(target=built, args=(folder, targets, said))
                job.start()
                seconds, memory = said.get()
                job.join()
                size = sum(path.stat().st_size for path in Path(folder, "report").rglob("*")) / 2**20
                opened, found, frames = listed(browser, folder)
            print(
                f"{targets} targets: built in {seconds:.1f} s with {memory:.0f} MiB, {size:.0f} MiB on disk; listed in "
                f"{opened:.2f} s, searched in {found:.2f} s; frame {frames[len(frames) // 2]:.0f} ms in the middle, "
                f"{frames[int(0.95 * len(frames))]:.0f} ms at 95 per cent"
            )
        browser.close()


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [5000, 100000])
