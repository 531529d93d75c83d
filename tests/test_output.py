"""Files that a run writes: none is replaced, none is left half written, and an error names the path."""

import errno
import resource
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from core import images, subjects, systems
from core.engine.result import Result, last
from core.errors import OutputError, SettingsError
from core.hub import weights
from core.hub.files import replacing
from core.output import new_file, save_picture, writing
from core.systems.vectors import numbers
from core.systems.vectors.request import Draw, Source, Walk

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8))


@contextmanager
def full_disk():
    """No file may grow beyond 10 kB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_name_that_is_taken_is_numbered(tmp_path):
    (tmp_path / "a.png").write_text("mine")

    def write(number: int) -> str:
        with new_file(tmp_path, "a.png") as path:
            path.write_text(str(number))
        return path.name

    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(write, range(8)))
    assert sorted(names) == [f"a-{number}.png" for number in range(2, 10)]
    assert (tmp_path / "a.png").read_text() == "mine"


@pytest.mark.parametrize("name", ["sheet.xyz", "sheet.psd", "sheet.cur", "sheet"])
def test_an_ending_that_is_no_pictures_is_refused(tmp_path, name):
    with pytest.raises(SettingsError, match="--out"):
        save_picture(Image.new("RGB", (8, 8)), tmp_path / name, "--out")
    assert files_of(tmp_path) == {}


def test_a_file_that_was_not_finished_vanishes(tmp_path):
    def stopped() -> None:
        with new_file(tmp_path, "a.png") as path:
            path.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert files_of(tmp_path) == {}


def save_subject(folder: Path) -> None:
    subject = subjects.Subject("Ann", "wzx", "tiny", "", {"unet.a.weight": torch.zeros(90, 90)}, None,
                               torch.ones(1, 512), np.zeros(subjects.PORTRAIT, np.uint8))
    subjects.write(subject, folder / "a.safetensors")


def save_state(folder: Path) -> None:
    with replacing(folder / "state.pt") as part:
        torch.save({"x": torch.randn(9000)}, part)


WRITERS = {
    "picture": lambda folder: images.save(NOISE, {"system": "vectors"}, folder, "a.png"),
    "vectors": lambda folder: numbers.write(np.ones((64, 512)), folder),
    "zip": lambda folder: images.zip_files([], {"a": bytes(20_000)}, folder, "a.zip"),
    "sheet": lambda folder: save_picture(NOISE, folder / "sheet.png", "--out"),
    "adapter": save_subject,
    "network": lambda folder: weights.write(nn.Linear(90, 90), folder / "a.safetensors", {}),
    "state": save_state,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_is_one_error_and_leaves_no_draft(kind, tmp_path):
    with full_disk(), pytest.raises(OutputError, match=str(tmp_path)) as caught:
        WRITERS[kind](tmp_path)
    assert "Free some space" in caught.value.next_step and files_of(tmp_path) == {}
    WRITERS[kind](tmp_path)
    assert len(files_of(tmp_path)) == 1


@pytest.mark.parametrize(("code", "said"), [(errno.EACCES, "permission"), (errno.ENOTDIR, "a file is in the way"),
                                            (errno.ENOSPC, "Free some space"), (errno.ENAMETOOLONG, "shorter")])
def test_the_next_step_mends_the_cause(code, said):
    with pytest.raises(OutputError) as caught, writing("/out/a.png"):
        raise OSError(code, "no", "/out/a.png")
    assert said in caught.value.next_step and "TMPDIR" not in caught.value.next_step


def test_an_error_names_what_failed_and_its_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("FACET_CACHE", str(tmp_path / "cache"))
    with pytest.raises(OutputError, match="cache/locks") as caught, writing(tmp_path / "out"):
        raise PermissionError(errno.EACCES, "no", str(tmp_path / "cache" / "locks"))
    assert "FACET_CACHE" in caught.value.next_step


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="shape"), writing("/out"):
        raise RuntimeError("shape mismatch")
    with pytest.raises(SettingsError, match="--out"):
        save_picture(NOISE, Path("/tmp/facet-sheet.nothing"), "--out")


def test_a_broken_safetensors_file_is_no_error_of_the_disk(tmp_path):
    (tmp_path / "a").write_bytes(bytes(20))
    with pytest.raises(SafetensorError), writing(tmp_path):
        load_file(tmp_path / "a")


def test_a_second_run_replaces_nothing_of_the_first(tmp_path):
    """Two sources whose files have the same names, into the same folder; then a walk twice."""
    pipeline, kept = systems.make("vectors", folder=tmp_path), {"facet-strip.png": b"mine"}
    (tmp_path / "facet-strip.png").write_bytes(b"mine")
    for number in (1, 2):
        face = Source("vector", np.random.default_rng(number).normal(size=512).astype(np.float32))
        start = {"source": "vector", "faces": (face,)}
        for request in (Draw(**start, count=1, seed=7), Walk(**start, goal=face, count=2)):
            result: Result = last(pipeline.run(request))
            pipeline.files(result)
            found = files_of(tmp_path)
            assert kept.items() <= found.items() and len(found) > len(kept)
            kept = found
