"""One seed per image, whatever the batch; people who keep their distance; numbers from strangers."""

import math
import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core import sampling
from core.errors import CheckpointError, SettingsError, VectorError
from core.sampling import (
    SEEDS,
    Pace,
    People,
    check_vector,
    edit,
    generators,
    randn,
    seeds_from,
    settle_seed,
    slerp,
    vary,
)

SEED = st.integers(0, SEEDS - 1)


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return torch.nn.functional.cosine_similarity(a.double(), b.double(), dim=-1).item()


def face(seed: int, length: float = 20.0) -> torch.Tensor:
    vector = torch.randn(512, generator=torch.Generator().manual_seed(seed))
    return vector * (length / vector.norm())


# --------------------------------------------------------------------------------------------------------- seeds

@pytest.mark.parametrize(("given_", "settled"), [(0, 0), (7, 7), (7.0, 7), (np.int64(5), 5), (np.float32(3), 3),
                                                 (SEEDS - 1, SEEDS - 1)])
def test_seeds_that_are(given_, settled):
    assert settle_seed(given_) == settled
    assert type(settle_seed(given_)) is int


@pytest.mark.parametrize("wish", [None, -1, -1.0])
def test_a_new_seed(wish):
    seeds = {settle_seed(wish) for _ in range(20)}
    assert len(seeds) > 15
    assert all(0 <= seed < SEEDS for seed in seeds)


@pytest.mark.parametrize("bad", [-2, SEEDS, 1e30, 1e9 + 0.5, float("nan"), float("inf"), -float("inf"), True, False,
                                 np.bool_(True), "7", "", [7], {}, 1j,
                                 pytest.param(10**5000, id="huge"), "x" * 10_000, torch.tensor(3)])
def test_seeds_that_are_not(bad):
    with pytest.raises(SettingsError) as caught:
        settle_seed(bad)
    assert len(caught.value.message) < 80
    assert "4294967295" in caught.value.next_step


@given(SEED, st.integers(0, 50))
def test_seeds_from(seed, count):
    seeds = seeds_from(seed, count)
    assert len(set(seeds)) == len(seeds) == count
    assert all(0 <= each < SEEDS for each in seeds)
    assert seeds[:1] == [seed][:count]
    for number, each in enumerate(seeds):
        assert seeds_from(each, count - number) == seeds[number:]      # any picture starts the rest of its row


@pytest.mark.parametrize("count", [-1, 1.5, float("nan"), True, None, "3", 1e30])
def test_counts_that_are_not(count):
    with pytest.raises(SettingsError):
        seeds_from(1, count)


@given(st.lists(SEED, min_size=1, max_size=9), st.sampled_from([(3,), (4, 8, 8), (17,)]))
@settings(max_examples=50)
def test_alone_or_in_a_batch(seeds, shape):
    batch = randn(seeds, shape)
    assert batch.shape == (len(seeds), *shape)
    for row, seed in zip(batch, seeds, strict=True):
        assert torch.equal(row, randn([seed], shape)[0])


def test_noise_is_normal_and_seeds_differ():
    noise = randn(range(2000), (16,))
    assert abs(noise.mean().item()) < 0.03
    assert abs(noise.std().item() - 1) < 0.03
    assert len(noise[:, 0].unique()) > 1990
    assert randn([], (3, 4)).shape == (0, 3, 4)


def test_generators():
    first, second = generators([3, 4])
    assert (first.initial_seed(), second.initial_seed()) == (3, 4)
    for bad in (-1, None, 2.5, True):
        with pytest.raises(SettingsError):
            generators([1, bad])


def test_global_randomness_is_left_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    randn([1, 2], (5,))
    vary(face(1), 0.3, 9)
    assert torch.equal(torch.rand(3), expected)


# ------------------------------------------------------------------------------------------------------- vectors

@pytest.mark.parametrize("form", [list, np.array, torch.tensor, lambda v: np.array(v, np.float64)[None],
                                  lambda v: torch.tensor(v, dtype=torch.float16), lambda v: np.array(v)[::-1][::-1],
                                  lambda v: torch.tensor(v, requires_grad=True)])
def test_vectors_that_are(form):
    vector = check_vector(form([1.0, *[0.0] * 511]))
    assert (vector.shape, vector.dtype, vector[0].item()) == ((512,), torch.float32, 1)
    assert not vector.requires_grad


def test_a_checked_vector_is_a_copy():
    array = np.ones(512, np.float32)
    check_vector(array)[0] = 5
    assert array[0] == 1


@pytest.mark.parametrize("bad", [[], [1.0] * 511, np.ones((2, 512)), np.zeros(512), np.full(512, np.nan),
                                 np.r_[np.inf, np.ones(511)], np.full(512, 1e300), "face", None, 3, [None] * 512,
                                 ["a"] * 512, np.ones(512, dtype=complex) * 1j, np.array([{}] * 512, dtype=object),
                                 [[1.0], [1.0, 2.0]]])
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::numpy.exceptions.ComplexWarning")
def test_vectors_that_are_not(bad):
    with pytest.raises(VectorError) as caught:
        check_vector(bad)
    assert caught.value.next_step


@pytest.mark.parametrize("length", [1.0, 20.0, 512 ** 0.5])
@pytest.mark.parametrize("sigma", [0.0, 0.3, 0.5, 0.7, 0.9])
def test_vary_turns_by_sigma_whatever_the_scale(length, sigma):
    vector = face(1, length)
    varied = torch.stack([vary(vector, sigma, seed) for seed in range(40)])
    assert torch.allclose(varied.norm(dim=1), torch.tensor(length), rtol=1e-5)
    turns = torch.nn.functional.cosine_similarity(varied, vector[None])
    assert abs(turns.mean().item() - 1 / math.sqrt(1 + sigma ** 2)) < 0.015
    if sigma:
        assert len(varied[:, 0].unique()) == 40


def test_vary_is_the_formula_at_the_published_scale():
    vector = face(2, 512 ** 0.5)
    moved = vector + 0.5 * randn([11], (512,))[0]
    assert torch.allclose(vary(vector, 0.5, 11), moved * (vector.norm() / moved.norm()), atol=1e-6)


def test_vary_leaves_its_input_alone():
    vector = face(3)
    before = vector.clone()
    assert torch.equal(vary(vector, 0.7, 1), vary(vector, 0.7, 1))
    assert torch.equal(vector, before)


@pytest.mark.parametrize("sigma", [-0.1, float("nan"), float("inf"), 1e30, True, None, "0.3"])
def test_sigmas_that_are_not(sigma):
    with pytest.raises(SettingsError):
        vary(face(1), sigma, 1)


@given(SEED, SEED, st.integers(2, 12), st.floats(0.1, 50), st.floats(0.1, 50))
@settings(max_examples=50)
def test_a_walk_goes_in_equal_turns(first, second, count, long, short):
    a, b = face(first, long), face(second, short)
    walk = slerp(a, b, count)
    assert walk.shape == (count, 512)
    assert torch.allclose(walk[0], a, atol=1e-4)
    assert torch.allclose(walk[-1], b, atol=1e-4)
    assert torch.allclose(walk.norm(dim=1), torch.linspace(long, short, count), rtol=1e-4)
    turns = [math.acos(min(1, cosine(x, y))) for x, y in pairwise(walk)]
    assert max(turns) - min(turns) < 2e-3


def test_a_walk_at_its_edges():
    a = face(1)
    assert torch.allclose(slerp(a, a, 5), a.expand(5, 512), atol=1e-5)
    assert torch.allclose(slerp(a, 2 * a, 3)[1], 1.5 * a, atol=1e-5)
    assert torch.allclose(slerp(a, face(2), 1), a[None])
    with pytest.raises(VectorError, match="opposites"):
        slerp(a, -a, 5)
    with pytest.raises(SettingsError):
        slerp(a, face(2), 0)


def test_an_edit_moves_the_chosen_dimensions_exactly():
    vector = face(4)
    before = vector.clone()
    for offset in (2.0, 4.0):                                      # from the vector given, every time
        moved = edit(vector, {0: offset, np.int64(511): -0.5, 7.0: 0})
        assert moved[0] == before[0] + offset
        assert moved[511] == before[511] - 0.5
        assert torch.equal(moved[1:511], before[1:511])
    assert torch.equal(vector, before)
    assert edit(vector, {}) is not vector
    array = np.ones(512, np.float32)
    assert edit(array, {3: 1})[3] == 2
    assert array[3] == 1


@pytest.mark.parametrize("dimension", [-1, 512, 1.5, True, "3", None, math.nan, 10**40])
def test_dimensions_that_are_not(dimension):
    with pytest.raises(SettingsError, match="whole number from 0 to 511"):
        edit(face(1), {dimension: 1.0})


@pytest.mark.parametrize("offset", [math.nan, math.inf, "2", None, True, 1e9])
def test_offsets_that_are_not(offset):
    with pytest.raises(SettingsError, match="dimension 3"):
        edit(face(1), {3: offset})
    with pytest.raises(SettingsError, match="by dimension"):
        edit(face(1), [offset])


def test_an_edit_that_leaves_nobody():
    with pytest.raises(VectorError, match="zero"):
        edit([1.0, *[0.0] * 511], {0: -1})


# -------------------------------------------------------------------------------------------------------- people

def features(count: int = 3000, width: int = 60) -> torch.Tensor:
    """Features of a narrow domain: `width` directions of shrinking spread, a mean that isn't zero, various lengths."""
    generator = torch.Generator().manual_seed(1)
    axes = torch.linalg.qr(torch.randn(512, width, generator=generator)).Q
    rows = torch.randn(count, width, generator=generator) * torch.linspace(3, 0.5, width) @ axes.T
    return rows + 0.05 * torch.randn(512, generator=generator)


@pytest.fixture(scope="module")
def people() -> People:
    return People.fit(features())


def test_fit_finds_the_space(people):
    data = features()
    assert people.components.shape[1] == 512
    assert 60 <= len(people.sd) <= 512
    assert torch.allclose(people.components @ people.components.T, torch.eye(len(people.sd)), atol=1e-5)
    assert torch.allclose(people.mean, data.mean(0), atol=1e-6)
    assert (people.sd[:-1] >= people.sd[1:]).all()
    assert torch.allclose(people.sd[:60], data.var(0, correction=1).new_tensor(np.linalg.svd(
        (data - data.mean(0)).double().numpy(), compute_uv=False)[:60] / math.sqrt(len(data) - 1)), rtol=1e-3)
    assert abs(people.norm.item() - data.norm(dim=1).median().item()) < 1e-4
    assert len(People.fit(data, components=16).sd) == 16


def test_people_look_like_the_features(people):
    drawn, data = people.draw(range(3000)), features()
    assert torch.allclose(drawn.norm(dim=1), people.norm, rtol=1e-5)
    unit, real = drawn / drawn.norm(dim=1, keepdim=True), data / data.norm(dim=1, keepdim=True)
    assert torch.allclose(unit.mean(0), real.mean(0), atol=0.02)
    assert torch.allclose(unit.T @ unit / 3000, real.T @ real / 3000, atol=0.004)


def test_a_person_alone_or_in_a_crowd(people):
    crowd = people.draw(range(100, 164))
    for row in (0, 17, 63):
        assert torch.equal(crowd[row], people.draw([100 + row])[0])


def test_people_keep_their_distance(people):
    sample = people.sample(150, seed=5, threshold=0.3)
    assert sample.shape == (150, 512)
    unit = sample / sample.norm(dim=1, keepdim=True)
    assert ((unit @ unit.T).fill_diagonal_(-1) < 0.3 + 1e-6).all()
    unchosen = people.draw(range(5, 155))
    unit = unchosen / unchosen.norm(dim=1, keepdim=True)
    assert ((unit @ unit.T).fill_diagonal_(-1) > 0.3).any()            # rejection had something to do


def test_more_people_begin_with_the_same_ones(people):
    assert torch.equal(people.sample(5, 9), people.sample(80, 9)[:5])
    assert not torch.equal(people.sample(5, 9), people.sample(5, 10))


def test_the_seed_of_a_person_draws_that_person(people):
    seeds = people.choose(40, 9)
    assert seeds == sorted(set(seeds))
    assert seeds[0] == 9
    assert seeds != list(range(9, 49))
    assert torch.equal(people.draw(seeds), people.sample(40, 9))
    assert people.choose(3, SEEDS - 1, threshold=1) == [SEEDS - 1, 0, 1]


def test_blocks_do_not_change_who_is_chosen(people, monkeypatch):
    expected = people.choose(80, 3)
    monkeypatch.setattr(sampling, "BLOCK", 7)
    assert people.choose(80, 3) == expected


def test_every_trial_is_told(people):
    trials = list(people.trials(60, 9))
    assert [trial.seed for trial in trials] == list(range(9, 9 + len(trials)))
    assert [trial.seed for trial in trials if trial.accepted] == people.choose(60, 9)
    assert (trials[0].accepted, trials[0].nearest, trials[0].similarity) == (True, None, None)
    assert trials[-1].accepted
    units = torch.nn.functional.normalize(people.draw(range(9, 9 + len(trials))))
    for row, trial in enumerate(trials[1:], 1):
        before = [earlier.seed - 9 for earlier in trials[:row] if earlier.accepted]
        cosines = units[before] @ units[row]
        assert trial.nearest == before[int(cosines.argmax())] + 9
        assert trial.similarity == pytest.approx(cosines.max().item(), abs=1e-5)
        assert trial.accepted == (trial.similarity < 0.3)


def evenly(dimensions: int) -> People:
    """People as different as so many dimensions allow."""
    return People(torch.zeros(512), torch.eye(512)[:dimensions], torch.ones(dimensions), torch.tensor(20.0))


def test_the_dimension_is_counted(people):
    assert evenly(37).dimension == pytest.approx(37)
    assert People(torch.zeros(512), torch.eye(512)[:3], torch.tensor([9, 0.1, 0.1]), torch.tensor(1.0)).dimension < 1.1


@pytest.mark.parametrize("count", [200, 1_000_000])
def test_what_cannot_be_found_is_given_up(count):
    """At once, whatever was asked for, and what the error suggests works."""
    narrow = evenly(8)
    with pytest.raises(SettingsError, match=r"Only (\d+) of .* about 8 dimensions") as caught:
        narrow.choose(count, 1, threshold=0.3)
    fewer, higher = re.fullmatch(r"Ask for (\d+) or fewer, or raise the threshold to (\S+)\.",
                                 caught.value.next_step).groups()
    assert len(narrow.choose(int(fewer), 1, threshold=0.3)) == int(fewer) < 60
    if count == 200:
        assert len(narrow.choose(count, 1, threshold=float(higher))) == count


def pace(count: int, dimension_share: float) -> Pace:
    """A pace by the book: after N people a draw is new with a chance of exp(-share × N); run until it gives up."""
    run, draw = Pace(count), np.random.default_rng(0)
    while run.found < count and not run.should_stop_sampling(draw.random() < math.exp(-dimension_share * run.found)):
        assert run.tried < 10**6
    return run


def test_giving_up_comes_early_and_never_too_early():
    assert pace(3000, 1 / 1000).found == 3000                      # 19 draws each: slow, but there
    assert pace(100_000, 1 / 500).tried < 20_000                   # clearly too many: patience isn't waited for
    assert pace(100_000, 1.0).tried < 10_000


@pytest.mark.parametrize(("count", "seed", "threshold"), [(-1, 1, 0.3), (1.5, 1, 0.3), (2, True, 0.3), (2, 1, math.nan),
                                                          (2, 1, 1.5), (2, 1, "0.3"), (1e30, 1, 0.3)])
def test_samples_that_are_not(people, count, seed, threshold):
    with pytest.raises(SettingsError):
        people.sample(count, seed, threshold)


def test_nobody_and_everybody(people):
    assert people.sample(0, 1).shape == (0, 512)
    assert torch.equal(people.sample(50, 4, threshold=1), people.draw(range(4, 54)))


@pytest.mark.parametrize("bad", [torch.ones(5, 512), torch.ones(1, 512), torch.ones(5, 100),
                                 torch.full((5, 512), math.nan)])
def test_features_that_are_not(bad):
    with pytest.raises(VectorError):
        People.fit(bad)


def test_people_are_stored(people, tmp_path):
    from safetensors.torch import load_file, save_file

    save_file({name: array.contiguous() for name, array in people.to_dict().items()}, tmp_path / "people.safetensors")
    again = People.from_dict(load_file(tmp_path / "people.safetensors"))
    assert torch.equal(again.sample(20, 1), people.sample(20, 1))
    half = People.from_dict({name: array.half() for name, array in people.to_dict().items()})
    assert torch.nn.functional.cosine_similarity(half.draw([1]), people.draw([1])).item() > 0.9999


@pytest.mark.parametrize("change", [{"mean": None}, {"sd": torch.ones(7)}, {"components": torch.ones(512)},
                                    {"norm": torch.tensor(math.nan)}, {"mean": torch.ones(100)}])
def test_stored_people_that_do_not_fit(people, change):
    arrays = {name: array for name, array in (people.to_dict() | change).items() if array is not None}
    with pytest.raises(CheckpointError, match=next(iter(change)) if "sd" not in change else "components"):
        People.from_dict(arrays)
