"""k-means and principal components: groups that are there are found, the same ones for a seed, in a stable order."""

import numpy as np
import pytest
import torch

from core import clustering, metrics
from core.clustering import PCA, k_means, unit
from core.errors import SettingsError


def blobs(sizes=(60, 40, 25, 10), width=8, apart=6.0, seed=0):
    """Vectors around as many centres as there are sizes, shuffled, and which centre each belongs to."""
    draw = torch.Generator().manual_seed(seed)
    centres = apart * torch.eye(len(sizes), width)
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    labels = labels[torch.randperm(len(labels), generator=draw)]
    return centres[labels] + 0.3 * torch.randn(len(labels), width, generator=draw), labels


def test_clusters_are_found_largest_first():
    vectors, labels = blobs()
    found = k_means(vectors, 4, seed=3)
    assert torch.equal(found.labels, labels) and found.sizes.tolist() == [60, 40, 25, 10]
    wanted = torch.stack([vectors[labels == group].mean(0) for group in range(4)])
    assert torch.allclose(found.centres, wanted, atol=1e-4)


def test_a_seed_gives_the_same_clusters_and_chance_none_of_the_order():
    vectors = torch.randn(500, 6, generator=torch.Generator().manual_seed(1))
    first, again, other = (k_means(vectors, 12, seed) for seed in (0, 0, 1))
    assert torch.equal(first.labels, again.labels) and not torch.equal(first.labels, other.labels)
    easy, _ = blobs()
    assert torch.equal(k_means(easy, 4, 5).labels, k_means(easy, 4, 6).labels)


def test_equal_sizes_go_by_the_earliest_member():
    labels = torch.tensor([2, 0, 0, 2, 1, 1])
    found = clustering.in_order(labels, torch.tensor([[10.0], [20.0], [30.0]]))
    assert found.labels.tolist() == [0, 1, 1, 0, 2, 2] and found.centres[:, 0].tolist() == [30.0, 10.0, 20.0]


def test_every_cluster_has_a_member():
    """Also where k-means would leave some empty: nearly as many clusters as vectors."""
    vectors = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    for k in (2, 20, 39, 40):
        assert int(k_means(vectors, k).sizes.min()) >= 1
    started = torch.cat([vectors[:2], torch.full((2, 3), 100.0)])       # nothing is near the last two
    assert int(clustering.nearest(vectors, clustering.lloyd(vectors, started, 20))[0].bincount(minlength=4).min()) >= 1


def test_more_vectors_than_the_sample_agree_with_a_small_start(monkeypatch):
    vectors, labels = blobs((600, 400, 250, 100))
    monkeypatch.setattr(clustering, "SAMPLE", 200)
    monkeypatch.setattr(clustering, "BLOCK", 64)
    assert torch.equal(k_means(vectors, 4).labels, labels)


@pytest.mark.parametrize(("vectors", "k", "said"), [
    (torch.randn(5, 3), 6, "k can't be 6 with 5"), (torch.randn(5, 3), 1, "k can't be 1"),
    (torch.randn(1, 3), 2, "there is one"), (torch.randn(0, 3), 2, "there are none"),
    (torch.eye(3)[[0, 1, 2, 0, 1]], 4, "only 3 of the 5"), (torch.ones(50, 4) / 3, 2, "only 1 of the 50")])
def test_too_many_clusters_are_refused(vectors, k, said):
    with pytest.raises(SettingsError, match=said) as error:
        k_means(vectors, k)
    assert error.value.next_step.endswith(".")


def test_features_that_are_not_finite_are_refused():
    with pytest.raises(SettingsError, match="not finite"):
        unit(torch.tensor([[1.0, float("nan")]]))


def test_components_agree_with_a_singular_value_decomposition():
    features = unit(torch.randn(300, 12, generator=torch.Generator().manual_seed(2)).exp())
    pca = PCA.fit(features, 5)
    centred = (features - features.mean(0)).numpy().astype(np.float64)
    wanted = np.linalg.svd(centred, full_matrices=False)[2][:5]
    assert np.allclose(np.abs(pca.components.numpy() @ wanted.T), np.eye(5), atol=1e-4)
    found = pca.apply(features)
    assert found.shape == (300, 5) and found.square().sum(1).mean().item() == pytest.approx(1, abs=1e-5)
    assert torch.allclose(pca.apply(features[:2]), found[:2], atol=1e-6)


def test_components_of_few_features():
    features = torch.randn(13, 9, generator=torch.Generator().manual_seed(0))
    assert PCA.fit(features).apply(features).shape == (13, 3)
    assert PCA.fit(features[:2]).apply(features).shape == (13, 1)


def test_components_vary_alike_but_for_the_flat_ones():
    """Deviations 1, 0.2 and 0.001 of the features: the last is noise and stays small."""
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(5000, 3, generator=draw) * torch.tensor([1.0, 0.2, 0.001])
    first, second, flat = PCA.fit(features).apply(features).std(0).tolist()
    assert first == pytest.approx(second, rel=1e-3) and flat == pytest.approx(first * 0.001 / clustering.FLAT, rel=0.1)


def test_the_two_nearest_centres():
    centres = torch.tensor([[0.0, 5.0], [0.0, 0.0], [3.0, 1.0]])
    labels, distances = clustering.two_nearest(torch.tensor([[0.0, 1.0]]), centres)
    assert labels.tolist() == [[1, 2]] and torch.allclose(distances, torch.tensor([[1.0, 3.0]]))


# Agreement of partitions


def test_partitions_agree_with_themselves_and_not_with_chance():
    draw = torch.Generator().manual_seed(0)
    a, b = (torch.randint(parts, (2000,), generator=draw) for parts in (6, 40))
    for measure in (metrics.adjusted_rand, metrics.adjusted_mutual_information):
        assert measure(a, a) == pytest.approx(1) and measure(a, 5 - a) == pytest.approx(1)
        assert abs(measure(a, b)) < 0.01
        assert measure(a, torch.zeros(2000, dtype=torch.int64)) == pytest.approx(0, abs=1e-9)


def test_agreement_on_an_example_by_hand():
    """Parts {1,2,3}, {4,5,6} against {1,2}, {3,4}, {5,6}: 2 of 6 and 3 pairs are shared where chance gives 1.2."""
    a, b = torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([0, 0, 1, 1, 2, 2])
    assert metrics.adjusted_rand(a, b) == pytest.approx((2 - 1.2) / (4.5 - 1.2))
    shuffled = [metrics._expected_information(torch.tensor([3.0, 3.0]), torch.tensor([2.0, 2.0, 2.0]), 6)]
    table = metrics.confusion_of(a, b)
    assert table.tolist() == [[2, 1, 0], [0, 1, 2]]
    information = 2 / 3 * np.log(2)
    wanted = (information - shuffled[0]) / ((np.log(2) + np.log(3)) / 2 - shuffled[0])
    assert metrics.adjusted_mutual_information(a, b) == pytest.approx(wanted)


def test_information_by_chance_is_the_mean_over_shuffles():
    draw = torch.Generator().manual_seed(0)
    a, b = torch.randint(3, (60,), generator=draw), torch.randint(4, (60,), generator=draw)
    found = []
    for _ in range(400):
        table = metrics.confusion_of(a, b[torch.randperm(60, generator=draw)]).double() / 60
        rows, columns = table.sum(1, keepdim=True), table.sum(0, keepdim=True)
        found.append(float((table * (table / (rows * columns)).clamp(min=1e-300).log()).sum()))
    table = metrics.confusion_of(a, b).double()
    assert metrics._expected_information(table.sum(1), table.sum(0), 60) == pytest.approx(np.mean(found), abs=0.004)


def test_the_wilson_bound():
    """By the textbook: 8 of 10 is at least 0.490 with 95 %; more pictures say more; nothing says nothing."""
    hits, count = torch.tensor([8.0, 80.0, 0.0, 0.0]), torch.tensor([10, 100, 10, 0])
    assert metrics.wilson_lower(hits, count).tolist() == pytest.approx([0.4902, 0.7112, 0.0, 0.0], abs=1e-4)
