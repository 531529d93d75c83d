"""Counting: pairs, folds, neighbours, errors and likeness, each against a case whose answer is known."""

import math

import pytest
import torch

from core import metrics


def test_pairs_are_half_genuine_and_allowed():
    person = torch.arange(20).repeat_interleave(5)
    odd = torch.arange(100) % 2 == 1
    first, second, same = metrics.pairs(person, 60, seed=1, allowed=odd[:, None] & odd[None])
    assert len(same) == 60 and same.sum() == 30
    assert odd[first].all() and odd[second].all() and (first != second).all()
    assert torch.equal(person[first] == person[second], same)
    assert len({(a, b) for a, b in zip(first.tolist(), second.tolist(), strict=True)}) == 60
    assert torch.equal(metrics.pairs(person, 60, seed=1)[0], metrics.pairs(person, 60, seed=1)[0])


def test_too_few_pairs_stay_balanced():
    first, _, same = metrics.pairs(torch.tensor([0, 0, 1, 2]), 100, seed=0)
    assert len(first) == 2 and same.sum() == 1


def test_verification_of_certain_and_of_blind_similarities():
    same = torch.arange(2000) % 2 == 0
    same = same[torch.randperm(2000, generator=torch.Generator().manual_seed(0))]
    noise = torch.rand(2000, generator=torch.Generator().manual_seed(1))
    assert metrics.verification(same * 0.5 + noise * 0.4, same) == 1.0
    assert metrics.verification(noise, same) == pytest.approx(0.5, abs=0.05)
    wrong = torch.rand(2000, generator=torch.Generator().manual_seed(2)) < 0.1
    assert metrics.verification((same ^ wrong) * 0.5 + noise * 0.4, same) == pytest.approx(0.9, abs=0.02)


def test_the_threshold_of_a_fold_comes_from_the_others():
    """One pair per fold: its own similarity must not move the threshold it is judged by."""
    similarity = torch.tensor([0.9, 0.5, 0.45, 0.1])
    same = torch.tensor([True, True, False, False])
    assert metrics.verification(similarity, same, folds=4) < 1.0


def test_best_threshold():
    similarity = torch.tensor([0.1, 0.4, 0.35, 0.8])
    found = metrics.best_threshold(similarity, torch.tensor([False, False, True, True]))
    assert found == pytest.approx((0.1 + 0.35) / 2)
    assert metrics.best_threshold(similarity, torch.tensor([False, True, False, True])) == pytest.approx(0.375)
    assert metrics.best_threshold(similarity, torch.ones(4, dtype=torch.bool)) == pytest.approx(0.1)


def test_fnmr_at_fmr():
    impostor = torch.arange(100) / 100
    assert metrics.fnmr_at_fmr(torch.tensor([0.5, 0.97, 0.99, 1.0]), impostor, fmr=0.01) == 0.5


def test_what_can_not_be_measured_is_nan():
    nothing, lost, same = torch.zeros(0), torch.tensor([0.5, torch.nan, 0.1, 0.2]), torch.tensor([True, False] * 2)
    rows = torch.eye(4) * lost[:, None]
    found = [metrics.verification(nothing, same[:0]), metrics.verification(lost, same),
             metrics.fnmr_at_fmr(nothing, lost[2:]), metrics.fnmr_at_fmr(lost[2:], nothing),
             metrics.fnmr_at_fmr(lost, lost[2:]), metrics.fnmr_at_fmr(lost[2:], lost),
             metrics.separability(nothing[:, None]), metrics.separability(rows),
             metrics.rank1(rows[:0], torch.eye(4), nothing), metrics.rank1(rows, torch.eye(4), torch.arange(4)),
             metrics.within(torch.zeros(6, 6), 1), metrics.mean_error(nothing, nothing)]
    assert all(map(math.isnan, found)), found


def test_separability_counts_the_lonely():
    vectors = torch.eye(6)
    vectors[5] = vectors[4] + 0.1 * vectors[0]
    assert metrics.separability(vectors) == pytest.approx(4 / 6)
    assert metrics.separability(vectors, block=2) == metrics.separability(vectors)
    assert metrics.separability(3 * vectors) == metrics.separability(vectors)


def test_rank1():
    gallery = torch.eye(4)
    assert metrics.rank1(gallery * 2 + 0.1, gallery, torch.arange(4)) == 1
    assert metrics.rank1(gallery[[1, 0, 2, 3]], gallery, torch.arange(4)) == 0.5


def test_agreement_and_error():
    a, b = torch.tensor([[1, 0], [1, 1]]), torch.tensor([[1, 1], [1, 1]])
    assert metrics.agreement(a, b).tolist() == [1.0, 0.5]
    assert metrics.mean_error(torch.tensor([1.0, 5.0]), torch.tensor([2.0, 2.0])) == 2.0


def test_ssim_agrees_with_scikit_image():
    structural = pytest.importorskip("skimage.metrics").structural_similarity
    generator = torch.Generator().manual_seed(0)
    a = torch.nn.functional.interpolate(torch.rand(2, 3, 8, 8, generator=generator), size=40, mode="bilinear")
    b = (a + 0.1 * torch.randn(a.shape, generator=generator)).clamp(0, 1)
    found = metrics.ssim(a * 2 - 1, b * 2 - 1)
    how = dict(channel_axis=2, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    arrays = [[each.permute(1, 2, 0).numpy() for each in pair] for pair in zip(a, b, strict=True)]
    wanted = [structural(x, y, **how) for x, y in arrays]
    assert torch.allclose(found, torch.tensor(wanted).float(), atol=5e-3)
    assert metrics.ssim(a, a).tolist() == pytest.approx([1, 1])
