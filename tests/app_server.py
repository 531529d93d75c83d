"""The real app in a process of its own, for the tests that talk to it from outside."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PATIENCE = 180      # seconds for a page to answer on a machine that is busy with other things


QUICKLY = ("from core.training import dreambooth_ages\n"
           "dreambooth_ages.AGE_GRID, dreambooth_ages.STEPS = (5.0, 45.0, 88.0), 2")     # where ages lie


@pytest.fixture(scope="session")
def shared_app() -> Iterator[str]:
    """The address of one app for all tests of a process that change nothing in it."""
    with serving("--offline", first=QUICKLY) as url:
        yield url


@contextmanager
def serving(*arguments: str, first: str = "", **env: str) -> Iterator[str]:
    """`python app.py` on a free port; gives its address, and ends the process afterwards.

    first: Python that the process runs before the app, to make what is slow quick.
    """
    url = f"http://127.0.0.1:{(port := free_port())}"
    app = ["-c", f"import runpy\n{first}\nrunpy.run_path('app.py', run_name='__main__')"] if first else ["app.py"]
    process = subprocess.Popen([sys.executable, *app, "--port", str(port), *arguments], cwd=ROOT, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, **env})
    try:
        wait_for(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(url: str, process: subprocess.Popen) -> None:
    """Until the page answers; if the process ends before, with what it said."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if process.poll() is not None:
            raise AssertionError(f"the app ended: {process.stdout.read()[-3000:]}")
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"the app did not answer within {PATIENCE} s")
