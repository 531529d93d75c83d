"""What every test stands on: two threads, or one beside other tests; a cache of its own; no GPU tests without one."""

import os
import tempfile

THREADS = "1" if "PYTEST_XDIST_WORKER" in os.environ else str(min(2, os.cpu_count() or 1))
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):  # before torch and numba read them
    os.environ.setdefault(name, THREADS)
os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as the app does: quicker where other things run
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
CACHE = tempfile.TemporaryDirectory(prefix="facet-tests-")
os.environ["FACET_CACHE"] = CACHE.name  # what a test draws, it draws itself

import hypothesis  # noqa: E402
import pytest  # noqa: E402

hypothesis.settings.register_profile("facet", deadline=None, derandomize=True)     # the same everywhere, and no clock
hypothesis.settings.load_profile("facet")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked `gpu` where CUDA is absent; torch is imported only if there are any."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked:
        import torch

        if not torch.cuda.is_available():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason="no CUDA device on this machine"))


def pytest_sessionfinish() -> None:
    """Drop what the tests drew."""
    CACHE.cleanup()
