"""Picture bars: each notices the fault it is named for, and real pictures against real ones meet them all."""

import numpy as np
import pytest
import torch

from core import data
from core.models import build
from core.scoring import pictures
from core.scoring.bars import Bar

SIZE = 48
TOLD_APART = "two-sample accuracy"


def cloudy(count: int, seed: int) -> torch.Tensor:
    """Pictures (N, 3, SIZE, SIZE) with detail at every scale, the same along both axes."""
    noise = torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
    y, x = torch.fft.fftfreq(SIZE)[:, None], torch.fft.fftfreq(SIZE)
    falling = 1 / (0.05 + torch.hypot(y, x))
    return (torch.fft.ifft2(torch.fft.fft2(noise) * falling).real * 0.06).clamp(-1, 1)


@pytest.fixture(scope="module")
def judge():
    torch.manual_seed(0)
    return build("judge", "tiny-check").eval()


@pytest.fixture(scope="module")
def real() -> data.DrawnSet:
    images = ((cloudy(240, 0) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    person = np.arange(240)
    return data.DrawnSet(images, np.zeros((240, 35), np.float32), person, np.zeros((240, 5, 2), np.float32))


def measured(made, real, judge) -> dict[str, Bar]:
    return {bar.name.split(",")[0].split(" (")[0]: bar for bar in pictures.picture_bars(made, real, judge)}


def test_real_pictures_meet_every_bar(real, judge):
    bars = measured(cloudy(120, 1), real, judge)
    assert len(bars) == 6 and all(bar.met for bar in bars.values()), bars


@pytest.mark.parametrize(("fault", "missed"), [
    (lambda x: data.blur_pictures(x, torch.full((len(x),), 1.0)), {"sharpness", "fine detail", "texture Fréchet"}),
    (lambda x: (x + 0.3 * torch.randn(x.shape)).clamp(-1, 1), {"sharpness", "texture Fréchet", TOLD_APART}),
    (lambda x: (x + 0.06 * torch.sin(torch.arange(SIZE) * 2 * torch.pi / 4)[:, None]).clamp(-1, 1), {"stripes"}),
    (lambda x: x[:1].repeat(len(x), 1, 1, 1), {TOLD_APART}),
], ids=["blur", "noise", "stripes", "one picture for all"])
def test_a_fault_misses_its_bars(fault, missed, real, judge):
    torch.manual_seed(0)
    bars = measured(fault(cloudy(120, 1)), real, judge)
    assert missed <= {name for name, bar in bars.items() if not bar.met}


def test_the_frechet_distance_of_gaussians_is_the_formulas():
    draw = torch.Generator().manual_seed(0)
    a, b = (torch.randn(20_000, 3, generator=draw) for _ in range(2))
    wanted = 4.0 + 3 * (2 - 1) ** 2
    assert pictures.frechet(a, b * 2 + torch.tensor([2.0, 0, 0])) == pytest.approx(wanted, rel=0.05)
    assert pictures.frechet(a, a) == pytest.approx(0, abs=1e-6)


def test_equal_sets_are_not_told_apart_and_shifted_ones_are():
    draw = torch.Generator().manual_seed(0)
    a, b = (torch.randn(400, 20, generator=draw) for _ in range(2))
    assert 0.4 < pictures.two_sample_accuracy(a, b) < 0.6
    assert pictures.two_sample_accuracy(a, b + 1) > 0.9
