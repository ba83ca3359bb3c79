"""Check every shape annotation of the package while the tests run, keep threads few, and open a
browser for the tests of pages."""

import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
_caches = tempfile.TemporaryDirectory(prefix="isojepa-tests-")
os.environ["ISOJEPA_CACHE"] = _caches.name  # nothing of the user's own is read or written

from jaxtyping import install_import_hook  # noqa: E402

install_import_hook("isojepa", "beartype.beartype")

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """A headless browser of the machine's own; the test is skipped where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser found: looked for {', '.join(BROWSERS)}")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=arguments)
        yield chromium
        chromium.close()
