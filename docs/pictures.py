"""The pictures of README.md, of the page of a finished run.

::

    make pictures

Needs playwright and a Chromium (`CHROMIUM`, else Debian's).
"""

import os
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).parent / "pictures"
WIDTH, HEIGHT, CANDIDATE_HEIGHT = 1180, 760, 1080


def main():
    """Photograph the list and the first candidate."""
    address = Path(sys.argv[1]).resolve().as_uri()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"))
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(f"{address}#list")
        first = page.locator("#rows [role=option]").first
        first.wait_for()
        page.screenshot(path=FOLDER / "list.jpg", type="jpeg", quality=80)
        page.set_viewport_size({"width": WIDTH, "height": CANDIDATE_HEIGHT})
        first.click()
        page.wait_for_selector("#view-candidate h2")
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(1000)
        page.screenshot(path=FOLDER / "candidate.jpg", type="jpeg", quality=80)
        browser.close()


if __name__ == "__main__":
    main()
