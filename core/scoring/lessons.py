"""Pictures that aging is scored on: test people trained in several ways, generated at the six ages.

The pictures of each person and way are cached on disk under a hash of settings, checkpoints and source code. So
interrupted runs resume, and changed networks are measured again.
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
from core.cache import cache_dir
from core.hub.files import replacing, sha256
from core.scoring import people

if TYPE_CHECKING:
    from core.subjects import Subject
    from core.training.dreambooth import Preset

CHOICE, PRESET = "tiny", "tiny"     # the shipped checkpoints and training preset
EMBEDDER, JUDGE = "embedder-tiny-v3", "judge-tiny-v3"     # steer the training, so they never score
SOURCES = ("latent.py", "sampling.py", "subjects.py", "words.py", "kernels/attention.py", "models/*.py",
           "scoring/lessons.py", "training/autoencoder.py", "training/diffusion.py", "training/dreambooth*.py",
           "training/losses.py", "training/optim.py", "training/people.py")
PICTURES = 4                        # per person and age


@dataclass(frozen=True)
class Way:
    """A way of training: its name in the table, and its changes to the preset."""

    name: str
    changes: dict[str, float]


PLAIN, DEFAULT = "plain DreamBooth", "biometric term"
BIOMETRIC = CONTRASTIVE = 0.1      # the paper's weights
WAYS = (
    Way("before training", {"steps": 0}),       # only the initial token embedding
    Way(PLAIN, {"biometric": 0.0, "contrastive": 0.0}),
    Way(DEFAULT, {"biometric": BIOMETRIC, "contrastive": 0.0}),     # as the preset has it
    Way("contrastive term", {"biometric": 0.0, "contrastive": CONTRASTIVE}),
    Way("both terms", {"biometric": BIOMETRIC, "contrastive": CONTRASTIVE}),
)
SHORT = tuple(way for way in WAYS if not way.changes.get("contrastive"))     # the shipped way and its baselines
ALONE = tuple(way for way in WAYS if way.name == DEFAULT)


@dataclass(frozen=True)
class Sampler:
    """Sampling settings."""

    solver: str
    steps: int
    guidance: float
    emphasis: float


def default_sampler() -> Sampler:
    """The app's defaults."""
    from core.systems.aging.request import Wish

    wish = Wish("a person")
    return Sampler(wish.solver, wish.steps, wish.guidance, wish.emphasis)


def preset_of(way: Way) -> "Preset":
    """The shipped preset with the changes of a way."""
    from core.training.dreambooth import PRESETS

    return replace(PRESETS[PRESET], **way.changes)


def pictures(way: Way, number: int) -> np.ndarray:
    """A test person, trained in this way, at the six ages: (6 · PICTURES, S, S, 3) uint8, age by age."""
    path = cache_path(way, number)
    if not path.exists():
        made = generate_ages(train_person(way, number), seeds_of(number), default_sampler())
        with replacing(path) as part, part.open("wb") as file:
            np.save(file, made)
    return np.load(path)


def train_person(way: Way, number: int) -> "Subject":
    """Train a test person on the `usual` pictures."""
    from core.images import from_uint8
    from core.training.dreambooth import Teacher

    base = latent.load(CHOICE)
    crops = from_uint8(people.pictures(people.usual, [number])[0])
    teacher = Teacher(base, crops, words.RARE[number % len(words.RARE)], preset_of(way), hub.load(EMBEDDER),
                      latent.prior(), judge=hub.load(JUDGE))
    for _ in teacher.lessons():
        pass
    return teacher.subject(f"test person {number}")


def seeds_of(number: int) -> list[int]:
    """Seeds of a person's pictures, equal for all ages and ways."""
    return [number * PICTURES + index for index in range(PICTURES)]


@torch.inference_mode()
def generate_ages(subject: "Subject", seeds: Sequence[int], sampler: Sampler) -> np.ndarray:
    """Generate a trained person at the six ages, one picture per seed: (6 · len(seeds), S, S, 3) uint8."""
    from core.images import to_uint8
    from core.subjects import adapted

    base = latent.load(subject.base)
    unet, prompts = adapted(base.unet, subject), [subject.prompt(age) for age in words.GROUPS]
    states = base.encode_prompts(prompts, subject.embedding, [subject.ages] * len(prompts))
    negative = base.negative_states("", [subject.prompt()] * len(prompts), subject.embedding, sampler.emphasis)
    rows = (each.expand_as(states).repeat_interleave(len(seeds), 0) for each in (states, negative))
    steps = list(latent.denoise(unet, *rows, [*seeds] * len(prompts), sampler.solver, sampler.steps, sampler.guidance))
    return np.concatenate([to_uint8(base.autoencoder.decode(part)) for part in steps[-1].latents.split(8)])


@torch.inference_mode()
def reconstructed(pictures: np.ndarray) -> np.ndarray:
    """Pictures (P, K, S, S, 3) uint8 after encoding and decoding, an upper bound for any denoiser."""
    from core.images import from_uint8, to_uint8

    coder, parts = latent.load(CHOICE).autoencoder, np.array_split(pictures.reshape(-1, *pictures.shape[2:]), 60)
    device = next(coder.parameters()).device
    made = [to_uint8(coder.decode(coder.encode(from_uint8(part).to(device)))) for part in parts if len(part)]
    return np.concatenate(made).reshape(pictures.shape)


# -------------------------------------------------------------------------------------------------------- caching

def cache_path(way: Way, number: int) -> Path:
    """Cache file of a person and a way."""
    facts = dict(number=number, preset=asdict(preset_of(way)), sampler=asdict(default_sampler()), pictures=PICTURES,
                 trained_on=[people.PICTURES, people.SPREAD, people.SIZE], faces=faces.VERSION, made_by=source_hashes())
    name = way.name.replace(" ", "-")
    return cache_dir("scored") / f"aged-{number}-{name}-{data.key_of(**facts)}.npy"


@cache
def source_hashes() -> dict[str, str]:
    """SHA-256 of every checkpoint and source file involved."""
    row, here = latent.CHOICES[CHOICE], Path(latent.__file__).parent
    names = (row.autoencoder, row.unet, row.text, row.subject, latent.PRIOR, EMBEDDER, JUDGE)
    sources = sorted(path for pattern in SOURCES for path in here.glob(pattern))
    return ({name: hub.row(name).sha256 for name in names}
            | {str(source.relative_to(here)): sha256(source) for source in sources})


# ------------------------------------------------------------------------------------------------------ all of it

def all_pictures(ways: Sequence[Way], numbers: Sequence[int], tell: Callable[[str], None],
                 workers: int | None = None) -> dict[str, np.ndarray]:
    """Every way with every person: {way: (P, 6 · PICTURES, S, S, 3) uint8}.

    Missing pictures are generated person by person. On a CPU each core runs its own process, because the networks are
    too small for two threads. tell: receives lines of progress.
    """
    todo = [(way, number) for number in numbers for way in ways if not cache_path(way, number).exists()]
    begun, lessons = time.monotonic(), sum(1 for way, _ in todo if way.changes.get("steps") != 0)
    for done, (way, number) in enumerate(_made(todo, processes() if workers is None else workers), 1):
        spent = time.monotonic() - begun
        tell(f"{done} of {len(todo)} done: test person {number}, {way.name}; "
             f"about {spent / done * (len(todo) - done) / 60:.0f} minutes left")
    if lessons:
        tell(f"{lessons} trainings with their pictures took {time.monotonic() - begun:.0f} s")
    return {way.name: np.stack([pictures(way, number) for number in numbers]) for way in ways}


def processes() -> int:
    """Number of parallel processes."""
    return min(2, os.cpu_count() or 1) if hub.default_device() == "cpu" else 1


def _made(todo: list[tuple[Way, int]], workers: int) -> Iterator[tuple[Way, int]]:
    """Generate missing pictures; yields each finished job."""
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
    """Initialise a worker: one thread, and no output to standard output."""
    torch.set_num_threads(1)
    sys.stdout = sys.stderr
