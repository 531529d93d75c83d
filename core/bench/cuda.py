"""Vec2Face on a CUDA device: float32 as written, against bfloat16, channels last, replayed as one CUDA graph."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from core import sampling
from core.errors import FacetError

SIDE = 8192      # matrix size for the measured peak
CLOSE = 0.05     # mean difference between bfloat16 and float32 pictures, relative to the mean absolute value


@dataclass(frozen=True)
class Speed:
    """Speed of one form at one batch size."""

    form: str        # "fp32 eager" or "bf16 graph"
    batch: int
    images: float    # per second
    share: float     # of the chip's measured bfloat16 matrix peak


def speeds(network: nn.Module, batches: tuple[int, ...] = (1, 32, 256), peak: float | None = None) -> Iterator[Speed]:
    """Both forms of a Vec2Face at every batch size, one result at a time.

    network: on any device; not modified. peak: operations per second; None: measured.
    Raises FacetError if the pictures of the two forms differ by more than rounding.
    """
    exact = deepcopy(network).eval().requires_grad_(False).cuda()
    quick = deepcopy(exact).to(torch.bfloat16, memory_format=torch.channels_last)
    work, peak = operations(network), peak or matrix_peak()
    for batch in batches:
        rep = sampling.randn(range(batch), (network.config.vector,)).cuda()
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            draw = lambda rep=rep: exact(rep)   # noqa: E731
            replay, picture = graphed(quick, rep.bfloat16())
            replay()
            _same(picture, draw())
            for form, call in (("fp32 eager", draw), ("bf16 graph", replay)):
                each = seconds(call) / batch
                yield Speed(form, batch, 1 / each, work / each / peak)


def graphed(network: nn.Module, rep: Tensor) -> tuple[Callable[[], None], Tensor]:
    """A call that replays the network on these vectors as one CUDA graph, and its output (N, 3, 112, 112)."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):                 # warm-up before the capture
        for _ in range(3):
            network(rep)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        picture = network(rep)
    return graph.replay, picture


def operations(network: nn.Module) -> float:
    """Additions and multiplications for one picture."""
    device = next(network.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, network.config.vector, device=device))
    return float(counter.get_total_flops())


def matrix_peak(side: int = SIDE) -> float:
    """Operations per second of a large bfloat16 matrix product."""
    a, b = (torch.randn(side, side, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return 2 * side ** 3 / seconds(lambda: a @ b)


def seconds(call: Callable[[], object], repeats: int = 20) -> float:
    """Seconds a call takes on the device: the best of three series, after warming up."""
    for _ in range(3):
        call()
    found = []
    for _ in range(3):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()
        found.append(begin.elapsed_time(end) / 1000 / repeats)
    return min(found)


def _same(picture: Tensor, exact: Tensor) -> None:
    away = ((picture.float() - exact).abs().mean() / exact.abs().mean()).item()
    if not away <= CLOSE:
        raise FacetError(f"Pictures in bfloat16 differ by {away:.1%} from the float32 ones, more than {CLOSE:.0%}.",
                         "Compare the attention kernels on this device:  pytest tests/test_attention.py -m gpu")
