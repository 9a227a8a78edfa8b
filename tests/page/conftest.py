"""One browser and one built page for all tests of the page."""

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright
from scene import build


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Folder of a page of 5,000 targets, and its catalogue."""
    folder = tmp_path_factory.mktemp("page")
    return folder / "report", build(folder)


@pytest.fixture(scope="session")
def chromium():
    path = shutil.which("chromium")
    if not path:
        pytest.skip("Chromium is not installed")
    with sync_playwright() as play:
        # tests may run as root, where Chromium has no sandbox
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A page that was opened from disk; what it complained of and asked for is kept."""

    def __init__(self, context, folder):
        self.context, self.folder = context, folder
        self.complaints, self.asked = [], []
        self.page = context.new_page()
        self.page.set_default_timeout(10000)
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def go(self, part="overview"):
        """Open a part of the page anew."""
        self.page.goto("about:blank")
        self.page.goto(f"file://{self.folder}/index.html#{part}")
        shown = {"list": "#rows", "grade": "#grader", "overview": "#overview-title"}
        self.page.wait_for_selector(shown.get(part.split("?")[0], "#view-candidate h2"))
        return self.page

    def start(self, grader="Ada", **fields):
        """Start a session."""
        self.go("grade")
        self.page.fill("#grader", grader)
        for name, value in fields.items():
            if name == "order":
                self.page.select_option("#order", value)
            elif name == "blind":
                self.page.set_checked("#blind", value)
            else:
                self.page.fill(f"#{name}", str(value))
        self.page.click("#start")
        self.page.wait_for_selector("#view-grade .pictures")
        return self.page

    def export(self):
        """The exported grades, as bytes."""
        with self.page.expect_download() as waiting:
            self.page.click(".export")
        return Path(waiting.value.path()).read_bytes()


@pytest.fixture
def visit(chromium, site):
    """Opens the page in a fresh browser profile; afterwards nothing may have gone wrong or left the disk."""
    contexts, visits = [], []

    def new(**options):
        contexts.append(chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **options}))
        visits.append(Visit(contexts[-1], site[0]))
        return visits[-1]

    yield new
    for one in visits:
        assert one.complaints == []
        assert {url.split(":")[0] for url in one.asked} <= {"file", "data", "blob", "about"}
    for context in contexts:
        context.close()
