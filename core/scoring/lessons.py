"""What aging is scored on: test people taught in several ways, and each drawn at the six ages.

What one person makes of one way is kept on disk, under a name that says all that it comes from: settings, checkpoints'
hashes and the code that teaches and draws. A run that was cut off goes on; a changed network starts anew.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from core import data, hub, latent, words
from core import faces_v3 as faces
from core.hub.files import replacing, sha256
from core.scoring import people

if TYPE_CHECKING:
    from core.subjects import Subject
    from core.training.dreambooth import Preset

CHOICE, PRESET = "tiny", "tiny"     # the checkpoints that ship, and how they are taught
EMBEDDER, JUDGE = "embedder-tiny", "judge-tiny"     # steer the teaching, so they never score
SOURCES = ("latent.py", "sampling.py", "subjects.py", "words.py", "kernels/attention.py", "models/*.py",
           "scoring/lessons.py", "training/autoencoder.py", "training/diffusion.py", "training/dreambooth*.py",
           "training/losses.py", "training/people.py")
PICTURES = 4                        # drawn of every person at every age


@dataclass(frozen=True)
class Way:
    """A way to teach: its name in the table, and what it changes in the preset."""

    name: str
    changes: dict[str, float]


PLAIN, DEFAULT = "plain DreamBooth", "biometric term"
BIOMETRIC = CONTRASTIVE = 0.1      # the paper's weights
WAYS = (
    Way("before teaching", {"steps": 0}),       # only the vector that the token begins at
    Way(PLAIN, {"biometric": 0.0, "contrastive": 0.0}),
    Way(DEFAULT, {"biometric": BIOMETRIC, "contrastive": 0.0}),     # as the preset has it
    Way("contrastive term", {"biometric": 0.0, "contrastive": CONTRASTIVE}),
    Way("both terms", {"biometric": BIOMETRIC, "contrastive": CONTRASTIVE}),
)
SHORT = tuple(way for way in WAYS if not way.changes.get("contrastive"))     # what ships, and what it is held against
ALONE = tuple(way for way in WAYS if way.name == DEFAULT)


@dataclass(frozen=True)
class Sampler:
    """How pictures are drawn: what a visitor gets who changes nothing."""

    solver: str
    steps: int
    guidance: float
    emphasis: float


def default_sampler() -> Sampler:
    """The pipeline's own defaults."""
    from core.systems.aging.results import Wish

    wish = Wish("a person")
    return Sampler(wish.solver, wish.steps, wish.guidance, wish.emphasis)


def preset_of(way: Way) -> "Preset":
    """The preset that ships, but for the terms that a way leaves out."""
    from core.training.dreambooth import PRESETS

    return replace(PRESETS[PRESET], **way.changes)


def pictures(way: Way, number: int) -> np.ndarray:
    """What a test person looks like at the six ages when taught this way: (6 · PICTURES, S, S, 3) uint8, age by age."""
    path = kept(way, number)
    if not path.exists():
        made = drawn(taught(way, number), seeds_of(number), default_sampler())
        with replacing(path) as part, part.open("wb") as file:
            np.save(file, made)
    return np.load(path)


def taught(way: Way, number: int) -> "Subject":
    """A test person, taught from the usual pictures."""
    from core.images import from_uint8
    from core.training.dreambooth import Teacher

    base = latent.load(CHOICE)
    brought = from_uint8(people.pictures(people.usual, [number])[0])
    teacher = Teacher(base, brought, words.RARE[number % len(words.RARE)], preset_of(way), hub.load(EMBEDDER),
                      latent.prior(), judge=hub.load(JUDGE))
    for _ in teacher.lessons():
        pass
    return teacher.subject(f"test person {number}")


def seeds_of(number: int) -> list[int]:
    """The seeds of a person's pictures: the same ones at every age, and in every way."""
    return [number * PICTURES + index for index in range(PICTURES)]


@torch.inference_mode()
def drawn(subject: "Subject", seeds: Sequence[int], sampler: Sampler) -> np.ndarray:
    """A taught person at the six ages, one picture a seed: (6 · len(seeds), S, S, 3) uint8, as a visitor sees them."""
    from core.images import to_uint8
    from core.subjects import adapted

    base = latent.load(subject.base)
    unet, prompts = adapted(base.unet, subject), [subject.prompt(age) for age in words.GROUPS]
    states = base.states(prompts, subject.spoken, subject.ages)
    silent = base.silent("", [subject.prompt()] * len(prompts), subject.spoken, sampler.emphasis)
    rows = (each.expand_as(states).repeat_interleave(len(seeds), 0) for each in (states, silent))
    steps = list(latent.denoise(unet, *rows, [*seeds] * len(prompts), sampler.solver, sampler.steps, sampler.guidance))
    return np.concatenate([to_uint8(base.autoencoder.decode(part)) for part in steps[-1].latents.split(8)])


@torch.inference_mode()
def reconstructed(pictures: np.ndarray) -> np.ndarray:
    """Pictures (P, K, S, S, 3) uint8 as the autoencoder gives them back, which is the most that a denoiser can do."""
    from core.images import from_uint8, to_uint8

    coder, parts = latent.load(CHOICE).autoencoder, np.array_split(pictures.reshape(-1, *pictures.shape[2:]), 60)
    device = next(coder.parameters()).device
    made = [to_uint8(coder.decode(coder.encode(from_uint8(part).to(device)))) for part in parts if len(part)]
    return np.concatenate(made).reshape(pictures.shape)


# --------------------------------------------------------------------------------------------------- kept on disk

def kept(way: Way, number: int) -> Path:
    """Where the pictures of a person and a way lie, or will."""
    facts = dict(number=number, preset=asdict(preset_of(way)), sampler=asdict(default_sampler()), pictures=PICTURES,
                 brought=[people.PICTURES, people.SPREAD, people.SIZE], faces=faces.VERSION, made_by=made_by())
    name = way.name.replace(" ", "-")
    return data.cache_dir() / "scored" / f"aged-{number}-{name}-{data.key_of(**facts)}.npy"


@cache
def made_by() -> dict[str, str]:
    """SHA-256 of every checkpoint and source file that has a part in it."""
    row, here = latent.CHOICES[CHOICE], Path(latent.__file__).parent
    names = (row.autoencoder, row.unet, row.text, row.subject, latent.PRIOR, EMBEDDER, JUDGE)
    sources = sorted(path for pattern in SOURCES for path in here.glob(pattern))
    return ({name: hub.row(name).sha256 for name in names}
            | {str(source.relative_to(here)): sha256(source) for source in sources})


# ------------------------------------------------------------------------------------------------------ all of it

def all_pictures(ways: Sequence[Way], numbers: Sequence[int], tell: Callable[[str], None],
                 workers: int | None = None) -> dict[str, np.ndarray]:
    """Every way with every person: {way: (P, 6 · PICTURES, S, S, 3) uint8}.

    What is missing is made, person by person; on a CPU by one process a core, for the networks are too small to keep
    two cores busy together. tell: gets a line of progress now and then.
    """
    todo = [(way, number) for number in numbers for way in ways if not kept(way, number).exists()]
    begun, lessons = time.monotonic(), sum(1 for way, _ in todo if way.changes.get("steps") != 0)
    for done, (way, number) in enumerate(_made(todo, processes() if workers is None else workers), 1):
        spent = time.monotonic() - begun
        tell(f"{done} of {len(todo)} done: test person {number}, {way.name}; "
             f"about {spent / done * (len(todo) - done) / 60:.0f} minutes left")
    if lessons:
        tell(f"{lessons} lessons and their pictures took {time.monotonic() - begun:.0f} s")
    return {way.name: np.stack([pictures(way, number) for number in numbers]) for way in ways}


def processes() -> int:
    """How many teach at a time."""
    return min(2, os.cpu_count() or 1) if hub.default_device() == "cpu" else 1


def _made(todo: list[tuple[Way, int]], workers: int) -> Iterator[tuple[Way, int]]:
    """Make what is missing; each job is yielded once it is done."""
    if workers < 2 or len(todo) < 2:
        for way, number in todo:
            pictures(way, number)
            yield way, number
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        waiting = {pool.submit(pictures, *job): job for job in todo}
        try:
            for task in as_completed(waiting):
                task.result()
                yield waiting[task]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _one_thread() -> None:
    """In a process of its own: one core, and nothing on standard output, which is the table's."""
    torch.set_num_threads(1)
    sys.stdout = sys.stderr
