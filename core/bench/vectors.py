"""Vec2Face against a plain implementation on a CPU: same weights, same output, time of each."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn

from core import hub, sampling
from core.bench import plain
from core.errors import FacetError
from core.models import build

TOLERANCE = 1e-4   # largest difference of the two pictures, relative to the maximum
ROUNDS = 3         # minimum number of rounds


@dataclass(frozen=True)
class Compared:
    """Milliseconds per picture at one batch size, and the relative time of the plain implementation."""

    preset: str
    batch: int
    ours: float          # median over the rounds
    plain: float
    ratio: float         # median of the ratios by round, robust on a busy machine
    difference: float    # relative to the maximum of the picture


def against_plain(preset: str, batches: tuple[int, ...] = (1, 32), seconds: float = 10.0) -> Iterator[Compared]:
    """Time `tiny` (the shipped weights) or `base` (weights from a seed), one result per batch size as it is found.

    seconds: per batch size. Raises FacetError if the two pictures differ.
    """
    network = shipped_or_seeded(preset)
    state = {name: value.contiguous() for name, value in network.state_dict().items()}      # in torch's own layout
    for batch in batches:
        rep = sampling.randn(range(batch), (network.config.vector,))
        forms = (lambda rep=rep: network(rep), lambda rep=rep: plain.vec2face(state, network.config, rep))
        with torch.inference_mode():
            difference = apart(*(form() for form in forms))
            times = torch.tensor(list(rounds(forms, seconds)), dtype=torch.float64)          # (rounds, 2)
        ours, theirs = (1000 * times.median(0).values / batch).tolist()
        yield Compared(preset, batch, ours, theirs, median((times[:, 1] / times[:, 0]).tolist()), difference)


def shipped_or_seeded(preset: str) -> nn.Module:
    """A Vec2Face on the CPU: the shipped one, or one with random weights from seed 0."""
    if preset == "tiny":
        return hub.load("vectors-tiny", "cpu")
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return build("vec2face", preset).eval().requires_grad_(False)


def apart(image: Tensor, twin: Tensor) -> float:
    """The largest difference between two batches of pictures, relative to the maximum of the second.

    Raises FacetError above TOLERANCE.
    """
    found = ((image - twin).abs().max() / twin.abs().max()).item()
    if not found <= TOLERANCE:
        raise FacetError(f"The network and its plain implementation are {found:.1e} apart, more than {TOLERANCE:.0e}.",
                         "Find the wrong one before comparing speed:  pytest tests/test_parity.py")
    return found


def rounds(forms: tuple[Callable[[], Tensor], ...], seconds: float) -> Iterator[list[float]]:
    """Seconds of one call of each form, per round; the order alternates."""
    end, count = time.monotonic() + seconds, 0
    while count < ROUNDS or time.monotonic() < end:
        order = range(len(forms))[:: 1 if count % 2 else -1]
        took = {number: timed(forms[number]) for number in order}
        yield [took[number] for number in range(len(forms))]
        count += 1


def timed(form: Callable[[], Tensor]) -> float:
    """Seconds of one call; processor time on one thread, else wall clock."""
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    begun = clock()
    form()
    return clock() - begun
