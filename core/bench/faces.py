"""The processor time of a drawn face, by stage of the renderer: one thread, ordinary looks of test people."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

LOOKS = 40
SIZE = 128
STAGES = {  # stage: timed functions of core.faces.render; methods as "Class.method"
    "shape": ("build",),
    "hair": ("all_strands",),
    "light": ("Lighting", "light.lamp"),
    "surfaces": ("accessories", "assemble", "Picture.__init__", "Picture.surfaces", "Picture.lens"),
    "strands": ("Picture.strands",),
    "develop": ("_develop",),
}


@dataclass(frozen=True)
class Cost:
    """Milliseconds of processor time per face and by stage; "other" is the rest."""

    face: float
    stages: dict[str, float]


def measure(looks: int = LOOKS, size: int = SIZE) -> Cost:
    """Draw `looks` ordinary looks, each of another test person, after one of warm-up.

    Time is that of the whole process, so OpenCV gets one thread. The caller must limit NumPy's threads before importing
    it.
    """
    import cv2

    from core.faces import Face, draw, look, person

    faces = [Face(who, look(who, number)) for number in range(looks + 1) for who in [person(number, "test")]]
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        for face in faces[:1] * 2:
            draw(face, size)
        with _timed_stages() as spent:
            begun = time.process_time()
            for face in faces[1:]:
                draw(face, size)
            total = time.process_time() - begun
    finally:
        cv2.setNumThreads(threads)
    stages = {stage: 1000 * seconds / looks for stage, seconds in spent.items()}
    mean = 1000 * total / looks
    return Cost(mean, stages | {"other": mean - sum(stages.values())})


@contextmanager
def _timed_stages() -> Iterator[dict[str, float]]:
    """Time the functions of STAGES inside the context; yields a dictionary of seconds by stage."""
    from core.faces import render

    spent = dict.fromkeys(STAGES, 0.0)
    kept = []
    for stage, names in STAGES.items():
        for name in names:
            *owners, last = name.split(".")
            place = getattr(render, owners[0]) if owners else render
            kept.append((place, last, getattr(place, last)))
            setattr(place, last, _timed(kept[-1][2], stage, spent))
    try:
        yield spent
    finally:
        for place, name, function in kept:
            setattr(place, name, function)


def _timed(function: Callable, stage: str, spent: dict[str, float]) -> Callable:
    def timed(*arguments, **named):
        begun = time.process_time()
        try:
            return function(*arguments, **named)
        finally:
            spent[stage] += time.process_time() - begun

    return timed
