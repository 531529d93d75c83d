"""The tab `vectors` without its page: every action as a named endpoint, for gradio_client and curl."""

from collections.abc import Iterator
from time import monotonic
from typing import Any

import gradio as gr

from core import systems
from core.engine.checks import whole
from core.errors import VectorError
from core.systems import choose
from core.systems.vectors.numbers import MOST
from core.systems.vectors.pipeline import UNLIKE
from core.systems.vectors.results import BULKY, Result, Source, Steered
from spaces import GPU, widgets
from spaces.line import LINE
from spaces.vectors_moves import EXPECTED, far
from spaces.widgets import number

LIKE = choose("vectors").similarity
DRAWN = "Faces that a program asked for are being drawn"
Answer = tuple[list[tuple[str, str]], list[dict[str, Any]], str, str | None]


def endpoints() -> None:
    """Register them; each gets components of its own, as an API takes its types from components."""
    count, seed = number("How many, 1 to 64", 8), number("-1 takes a new seed", -1)
    sigma = number("How different, 0 to 1.5", 0.5)
    sigma0, drawings = number("How different, 0 to 1.5", 0), (made, about_each, numbers, archive)
    steps, limit = number("How many pictures, 2 to 64", 8), number("Steps, at most, 0 to 200", 40)
    alike = number("Stay this like the source, -1 to 1", LIKE)
    for task, inputs, outputs in (
        (people, (count, seed, number("Any two are less alike than this, -1 to 1", UNLIKE)), drawings),
        (variations, (vector_file, sigma, count, seed), drawings),
        (picture, (vector_file,), drawings),
        (drawn, (number("Number of the drawn person", 0), sigma, count, seed), drawings),
        (from_photo, (photo_file, number("Which face, 0 is the largest", 0), sigma, count, seed), drawings),
        (from_crop, (photo_file, number("Middle, 0 left to 1 right", 0.5), number("Middle, 0 top to 1 bottom", 0.5),
                     number("Side, part of the shorter side", 0.5), sigma, count, seed), drawings),
        (walk, (vector_file, vector_file, steps), (*drawings, film)),
        (edit, (vector_file, offsets, steps), drawings),
        (turn, (vector_file, number("Yaw in degrees, -90 to 90", 30), number("Quality, at least, 0 to 1", 0), limit,
                sigma0, number("How many, 1 to 64", 1), seed, alike), drawings),
        (clear_up, (vector_file, number("Quality, at least, 0 to 1", 0.7), limit, sigma0,
                    number("How many, 1 to 64", 1), seed, alike), drawings),
        (faces_in_photo, (photo_file,), (made, about_each, numbers)),
        (strip, (vector_file,), (lambda: gr.Image(render=False),)),
        (settings_of, (lambda: gr.File(label="A PNG made here", render=False),), (about_each,)),
        (about, (), (about_each,)),
    ):
        widgets.endpoint(task, [make() for make in inputs], [make() for make in outputs], **widgets.GPU_TURN)


def vector_file() -> gr.File:
    return gr.File(label="512 numbers, or rows of them (.npy)", render=False)


def photo_file() -> gr.File:
    return gr.File(label="A picture with a face", render=False)


def offsets() -> gr.Textbox:
    return gr.Textbox("7: 2.0", label="Dimension: offset, …", render=False)


def film() -> gr.File:
    return gr.File(label="There and back (GIF), at the end", render=False)


def made() -> gr.Gallery:
    return gr.Gallery(label="PNG files with their settings inside", render=False)


def about_each() -> gr.JSON:
    return gr.JSON(label="What made them", render=False)


def numbers() -> gr.File:
    return gr.File(label="The vectors (.npy)", render=False)


def archive() -> gr.File:
    return gr.File(label="Everything (ZIP), at the end", render=False)


@GPU
def people(count: float = 8, seed: float = -1, threshold: float = UNLIKE) -> Iterator[Answer]:
    """New people who do not exist.

    count: 1 to 64. seed: a whole number; the same seed is the same person, -1 takes a new one. threshold: the cosine
    that any two stay below, -1 to 1.
    Returns pictures, what made each, their vectors (.npy) and, with the last, a ZIP of everything.
    """
    yield from answers(systems.load("vectors").people(seed, count, threshold))


@GPU
def variations(vector: str, sigma: float = 0.5, count: float = 8, seed: float = -1) -> Iterator[Answer]:
    """The person of a vector again and again, each time a little different.

    vector: a .npy file of 512 numbers. sigma: how different, 0 to 1.5. count: 1 to 64. seed: as for people.
    Returns pictures, what made each, their vectors (.npy) and, with the last, a ZIP of everything.
    """
    yield from answers(systems.load("vectors").variations(one(vector), sigma, count, seed))


@GPU
def picture(vector: str) -> Iterator[Answer]:
    """The picture of exact vectors: a .npy file of 512 numbers, or of up to 64 rows of them.

    Returns pictures, what made each, their vectors (.npy) and, with the last, a ZIP of everything.
    """
    system = systems.load("vectors")
    yield from answers(system.several(system.vector(vector), 0.0, 0))


@GPU
def drawn(person: float = 0, sigma: float = 0.5, count: float = 8, seed: float = -1) -> Iterator[Answer]:
    """Variations of a drawn person whom no network was trained on.

    person: number of the person, 0 to 99,999. sigma, count, seed: as for variations.
    Returns pictures, what made each, their vectors (.npy) and, with the last, a ZIP of everything.
    """
    system = systems.load("vectors")
    yield from answers(system.variations(system.person(person), sigma, count, seed))


@GPU
def from_photo(photo: str, face: float = 0, sigma: float = 0.5, count: float = 8, seed: float = -1) -> Iterator[Answer]:
    """Variations of a face in a photo.

    photo: a picture file. face: which of the faces found, 0 is the largest. sigma, count, seed: as for variations.
    Returns pictures, what made each, their vectors (.npy) and, with the last, a ZIP of everything.
    """
    yield from answers(systems.load("vectors").from_photo(photo, face, sigma, count, seed))


@GPU
def from_crop(photo: str, x: float = 0.5, y: float = 0.5, size: float = 0.5, sigma: float = 0.5, count: float = 8,
              seed: float = -1) -> Iterator[Answer]:
    """Variations of a face marked by hand.

    photo: a picture file. x, y: the middle of the face, parts of width and height. size: side of the square, part
    of the shorter side. sigma, count, seed: as for variations.
    Returns pictures, what made each, their vectors (.npy) and, with the last, a ZIP of everything.
    """
    system = systems.load("vectors")
    yield from answers(system.variations(system.cropped(photo, x, y, size), sigma, count, seed))


@GPU
def walk(start: str, end: str, steps: float = 8) -> Iterator[tuple]:
    """A walk from one face to another, in equal turns on the sphere, both ends included.

    start, end: .npy files of 512 numbers each. steps: how many pictures, 2 to 64.
    Returns pictures, what made each, their vectors (.npy) and, with the last, a ZIP of everything and a GIF.
    """
    system = systems.load("vectors")
    for result in in_turn(system.walk(one(start), one(end), steps)):
        done = len(result.images) == result.total
        yield *answer(result, done), system.film(result) if done else None


@GPU
def edit(vector: str, offsets: str = "7: 2.0", steps: float = 8) -> Iterator[Answer]:
    """Chosen numbers of a face moved, the others exactly as they were.

    vector: a .npy file of 512 numbers. offsets: dimensions from 0 and what is added to them, "7: 2.0, 300: -1.5".
    steps: how many pictures, 2 to 64; the first is the face as it is, the last has the whole offsets.
    Returns pictures, what made each, their vectors (.npy) and, with the last, a ZIP of everything.
    """
    system = systems.load("vectors")
    yield from answers(system.edited(one(vector), system.offsets(offsets), steps))


@GPU
def turn(vector: str, yaw: float = 30, quality: float = 0, limit: float = 40, sigma: float = 0, count: float = 1,
         seed: float = -1, similarity: float = LIKE) -> Iterator[Answer]:
    """A face steered to a yaw, step by step (AttrOP); always ends, and says what it misses.

    vector: a .npy file of 512 numbers. yaw: degrees, positive towards the right of the picture. quality: at least
    this, 0 asks for none. limit: steps at most, 0 to 200. sigma, count, seed: steer variations. similarity: the least
    cosine to the source. Returns pictures as far as they are, what made each with yaw, quality and what is missed,
    their vectors (.npy) and, with the last, a ZIP of everything.
    """
    system = systems.load("vectors")
    yield from steps_of(system.steer(several(vector, count), yaw, quality or None, limit, seed, sigma, similarity))


@GPU
def clear_up(vector: str, quality: float = 0.7, limit: float = 40, sigma: float = 0, count: float = 1, seed: float = -1,
             similarity: float = LIKE) -> Iterator[Answer]:
    """A face steered to a quality, step by step (AttrOP); always ends, and says what it misses.

    vector: a .npy file of 512 numbers. quality: at least this, 0 to 1. limit, sigma, count, seed, similarity: as for
    turn. Returns what turn returns.
    """
    system = systems.load("vectors")
    yield from steps_of(system.steer(several(vector, count), None, quality, limit, seed, sigma, similarity))


@GPU
def faces_in_photo(photo: str) -> tuple[list[tuple[str, str]], list[dict[str, Any]], str]:
    """The faces in a photo, largest first: the crops that are used, their names and their vectors (.npy)."""
    system = systems.load("vectors")
    found = system.faces_in(photo)
    return ([(face.picture, face.label) for face in found],
            [{"face": number, "label": face.label} for number, face in enumerate(found)], system.npy_of(found))


def strip(vector: str) -> str:
    """A vector (.npy, 512 numbers) as a strip of 16 × 32 coloured cells: a PNG."""
    return systems.load("vectors").strip(one(vector).vector)


def settings_of(picture: str) -> dict[str, Any]:
    """What a PNG made here remembers: source, sigma, count, seed, vector; {} for any other file."""
    kept = systems.load("vectors").settings_of(picture)
    return {} if kept is None else {"source": kept.source.kind, "person": kept.source.person, "sigma": kept.sigma,
                                    "count": kept.count, "seed": kept.seed, "vector": kept.source.vector.tolist()}


def about() -> dict[str, str]:
    """What computes here: checkpoints and their hashes, attention kernel, device, versions."""
    return systems.load("vectors").about


def one(path: str) -> Source:
    """The one vector of a file."""
    found = systems.load("vectors").vector(path)
    if len(found) > 1:
        raise VectorError(f"This file holds {len(found)} faces, and one is varied at a time.",
                          "Save one row, or ask for their pictures with /picture.")
    return found[0]


def several(path: str, count: float) -> list[Source]:
    """The one vector of a file so many times, to be varied."""
    return [one(path)] * whole(count, "count", 1, MOST)


def in_turn(results: Iterator[Result]) -> Iterator[Result]:
    """The same results; who waits on a page meanwhile is told."""
    return LINE.turn("a program", DRAWN, EXPECTED, results, far(monotonic()))


def answers(results: Iterator[Result]) -> Iterator[Answer]:
    """Results as the API gives them; the ZIP comes with the last."""
    for result in in_turn(results):
        yield answer(result, len(result.images) == result.total)


def steps_of(results: Iterator[Steered]) -> Iterator[Answer]:
    """Steps of steering as the API gives them; the ZIP comes with the last, which is seen only afterwards."""
    result = None
    for result in in_turn(results):
        yield answer(result, done=False)
    yield answer(result, done=True)


def answer(result: Result, done: bool) -> Answer:
    """One result as the API gives it."""
    system = systems.load("vectors")
    facts = [{key: value for key, value in kept.items() if key not in BULKY} for kept in result.settings]
    names = [f"seed {kept['seed']}, similarity {kept['similarity']:.3f}" for kept in facts]
    return (list(zip(result.images, names, strict=True)), facts, system.npy(result.vectors),
            system.zip(result) if done else None)
