"""A real JupyterLab on a copy of the course, and a headless Chromium that looks at it.

Where Chromium or Playwright is absent these tests are skipped with one line. `.ci/run` sets
UNET_BROWSER_TESTS=required, and then that is a failure (so it is under CI=true).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab_server import Lab, copy_course
from notebook_page import NotebookPage

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "build" / "browser"  # git-ignored
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
REQUIRED = "required"
# Names do not resolve in here. What a page then misses is another's (see KNOWN in notebook_page).
CUT_OFF = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of Chromium; absent (or Playwright absent): skipped, and a failure where required."""
    path = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    packages = ("playwright", "jupyterlab")
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    missing += [] if path else ["Chromium (on Debian and Ubuntu: apt-get install chromium)"]
    if not missing:
        return path
    reason = f"the tests in a real browser need {' and '.join(missing)}"
    required = os.environ.get("UNET_BROWSER_TESTS") == REQUIRED
    if required or os.environ.get("CI", "").lower() == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def course(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the course; what the notebooks make goes into it and not into the checkout."""
    return copy_course(ROOT, tmp_path_factory.mktemp("browser") / "course")


@pytest.fixture(scope="session")
def lab(course: Path) -> Iterator[Lab]:
    """JupyterLab on the copy of the course, in quick mode and without a network."""
    with Lab(course) as server:
        yield server


@pytest.fixture(scope="session")
def lab_without_kernels(course: Path) -> Iterator[Lab]:
    """The same, but a notebook that is opened gets no kernel."""
    with Lab(course, starts_kernels=False) as server:
        yield server


# Not for the whole session: while Playwright runs, its event loop does too, and the tests that
# execute notebooks in this process want one of their own.
@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Without its sandbox, since in a container one is root.
        launched = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", CUT_OFF]
        )
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def new_page(browser) -> Callable[[Lab, str], NotebookPage]:
    """A function that opens a notebook in a window with nothing in it from an earlier one."""

    def open_one(server: Lab, name: str) -> NotebookPage:
        context = browser.new_context(viewport={"width": 1400, "height": 1000})
        return NotebookPage(context.new_page(), server, name, SCREENSHOTS)

    return open_one
