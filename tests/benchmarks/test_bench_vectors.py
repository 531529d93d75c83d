"""Vec2Face and its plain twin draw the same pictures; how fast each does is printed."""

import time

import pytest
import torch

from core.bench import cuda, plain, vectors
from core.commands.bench import compare
from core.errors import FacetError
from core.models import build


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def small():
    """A Vec2Face like `base`, fewer and narrower layers, with every bias and norm away from its beginning."""
    torch.manual_seed(0)
    model = build("vec2face", "base", width=48, depth=2, heads=4, decoder_width=32, decoder_depth=2, decoder_heads=2,
                  feature=16, channels=(8, 8, 16, 16, 24), groups=4)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.1, 0.2)
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("batch", [1, 5, 9])
@pytest.mark.parametrize("context", [torch.inference_mode, torch.enable_grad])
def test_the_network_draws_what_its_equations_say(small, batch, context):
    """Without gradients the network takes its quick way; with them, that of training."""
    rep = torch.randn(batch, 512, generator=torch.Generator().manual_seed(1))
    with context():
        image = small(rep)
        assert image.shape == (batch, 3, 112, 112)
        assert vectors.apart(image, plain.vec2face(small.state_dict(), small.config, rep)) < 2e-5


def test_the_quick_way_leaves_its_input_alone(small):
    feature = torch.randn(3, 16, 7, 7)
    before = feature.clone()
    with torch.inference_mode():
        small.im_decoder(feature)
    assert torch.equal(feature, before)


def test_loaded_weights_lie_as_they_are_used(small):
    """Else each convolution would bring its own into the layout of the pictures, at every call."""
    kept = {name: value.clone().contiguous() for name, value in small.state_dict().items()}
    small.load_state_dict(kept)
    kernels = [value for value in small.im_decoder.state_dict().values() if value.ndim == 4]
    assert kernels and all(value.is_contiguous(memory_format=torch.channels_last) for value in kernels)
    assert all(torch.equal(value, kept[name]) for name, value in small.state_dict().items())


def test_a_wrong_picture_is_no_benchmark(small):
    image = torch.ones(1, 3, 4, 4)
    for wrong in (image * 1.001, image * torch.nan):
        with pytest.raises(FacetError, match="apart"):
            vectors.apart(wrong, image)


def test_the_forms_take_turns_and_end():
    calls = []
    found = list(vectors.rounds((lambda: calls.append(0), lambda: calls.append(1)), 0))
    assert calls == [1, 0, 0, 1, 1, 0] and len(found) == vectors.ROUNDS
    assert all(len(times) == 2 and min(times) >= 0 for times in found)


def test_on_one_thread_waiting_costs_nothing(one_thread):
    assert vectors.timed(lambda: time.sleep(0.2)) < 0.1


def test_the_shipped_network_is_compared(one_thread, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    compare(("tiny",), 0)
    title, *lines = capsys.readouterr().out.splitlines()
    assert "1 thread:" in title and [line.split()[:3] for line in lines] == [["tiny", "batch", "1"],
                                                                             ["tiny", "batch", "32"]]
    assert all(float(line.split("ratio")[1].split()[0]) > 0 for line in lines)


def test_operations_are_counted(small):
    narrow = cuda.operations(small)
    assert 1e7 < narrow < cuda.operations(build("vec2face", "tiny").eval()) < 1e10


@pytest.mark.gpu
def test_bfloat16_as_a_graph_draws_the_same():
    network = vectors.shipped_or_seeded("tiny")
    found = {(speed.form, speed.batch): speed for speed in cuda.speeds(network, batches=(1, 8))}
    assert set(found) == {(form, batch) for form in ("fp32 eager", "bf16 graph") for batch in (1, 8)}
    assert all(0 < speed.share < 1 for speed in found.values())
    assert all(speed.images > 0 for speed in found.values())
