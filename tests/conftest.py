"""What every test stands on: two threads, or one a worker; compiled code that is kept; no GPU tests without a GPU."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ALONE = "PYTEST_XDIST_WORKER" not in os.environ
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):  # before torch and numba read them
    if ALONE:
        os.environ.setdefault(name, str(min(2, os.cpu_count() or 1)))
    else:
        os.environ[name] = "1"      # a worker inherits what the process that started it has set
os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as the app does: quicker where other things run
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

ROOT = Path(__file__).parents[1]
LONGEST = ("test_browser", "test_aging_sd", "test_aging_browser", "test_aging_api", "test_aging_base", "test_faces",
           "test_api", "test_dreambooth", "test_promises")
RENDERERS = ("core.faces", "core.faces_v3")
CACHE = tempfile.TemporaryDirectory(prefix="facet-tests-")
os.environ["FACET_CACHE"] = CACHE.name  # what a test draws, it draws itself


def compiled() -> Path:
    """Keep compiled code between runs, for all workers, in a folder named by what decides it; returns that folder.

    Numba looks at when a file was written, so this hash does too. Folders that are a week old go.
    """
    found = hashlib.sha256()
    for renderer in RENDERERS:
        for path in sorted((ROOT / renderer.replace(".", "/")).rglob("*.py")):
            found.update(f"{path} {path.stat().st_mtime_ns}".encode() + path.read_bytes())
    home = ROOT / ".pytest_cache" / "numba" / found.hexdigest()[:16]
    home.mkdir(parents=True, exist_ok=True)
    for other in home.parent.iterdir():
        if other != home and time.time() - other.stat().st_mtime > 7 * 24 * 3600:
            shutil.rmtree(other, ignore_errors=True)
    (Path(CACHE.name) / "numba").symlink_to(home)
    return home


def compile_once(home: Path, worker: str) -> None:
    """Compile both renderers, one on each worker at the same time, unless an earlier run did."""
    from filelock import FileLock

    draw = ("import importlib, sys; faces = importlib.import_module(sys.argv[1]); who = faces.person(1)\n"
            "face = faces.Face(who, faces.look(who, 1))\n"
            "for view in ('portrait', 'aligned'): faces.draw(face, 64, view), faces.points(face, 64, view)")
    for renderer in RENDERERS if worker == "gw0" else reversed(RENDERERS):
        with FileLock(home / f"{renderer}.lock"):
            if not (done := home / f"{renderer}.compiled").exists():
                subprocess.run([sys.executable, "-c", draw, renderer], cwd=ROOT, check=True)
                done.touch()


COMPILED = compiled()

import hypothesis  # noqa: E402
import pytest  # noqa: E402
from app_server import shared_app  # noqa: E402, F401

hypothesis.settings.register_profile("facet", deadline=None, derandomize=True)     # the same everywhere, and no clock
hypothesis.settings.load_profile("facet")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that workers end together. Skip the tests marked `gpu` where CUDA is absent; torch is
    imported only if there are any.
    """
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked:
        import torch

        if not torch.cuda.is_available():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason="no CUDA device on this machine"))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile before the first test, where two workers would do it twice; a run of one compiles as it goes."""
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        compile_once(COMPILED, worker)


def pytest_sessionfinish() -> None:
    """Drop what the tests made."""
    CACHE.cleanup()
