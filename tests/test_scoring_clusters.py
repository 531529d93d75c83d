"""The bars of clusters: what counts as a clear group, who wears it, and what is measured then."""

import numpy as np
import pytest
import torch
from clusters_toys import FACES, GROUPS, READERS, checkout, drawn_toys
from test_discovery import crowd

from core import scoring
from core.faces import BINARY, NAMES
from core.models.judge import CONTINUOUS, POSE
from core.scoring import clusters
from core.systems.clusters.words import TRAITS
from core.training.crowd import CROWD

HAT, MEN = TRAITS.index("hat"), TRAITS.index("men")


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        checkout(tmp_path_factory.mktemp("clusters") / "checkpoints", patch,
                 READERS)
        yield


def test_every_bar_is_printed(toys, monkeypatch):
    """Every sixth face has a hat, in groups that are known by it: then wearing is measured too."""
    drawn, asked = drawn_toys(), []
    traits = torch.zeros(FACES, len(TRAITS), dtype=torch.bool)
    traits[:, MEN] = torch.arange(FACES) % 2 == 0
    monkeypatch.setattr(clusters, "traits_of", lambda table: traits[:len(table)])
    monkeypatch.setattr(clusters, "clear_traits", lambda labels, traits, k=None: torch.tensor([HAT] + [-1] * 5))
    monkeypatch.setattr(clusters, "wearers", lambda *given: asked.append(given) or (torch.arange(8), torch.zeros(
        8, dtype=torch.int64)))
    monkeypatch.setattr(clusters, "TIMES", ((60, 2.0), (90, 20.0)))
    monkeypatch.setattr(clusters, "KS", (2, 5))
    monkeypatch.setattr(clusters, "K", 8)
    found = scoring.score("clusters", quick=True)
    names = [bar["name"] for bar in found["bars"]]
    assert len(set(names)) == len(names) and asked[0][3] == clusters.FEW
    goals = {bar["name"]: bar["goal"] for bar in found["bars"] if bar["goal"] != "reported"}
    assert [goals[f"{space}: groups with a clear trait"] for space in ("texture", "shape")] == [">= 0.5"] * 2
    assert goals["ASIN: the trait is there then"] == ">= 0.7" and goals["ASIN: over its base rate"] == ">= 3"
    assert goals["identity, ASIN minus AdaIN"] == ">= 0" and goals["leakage, ASIN over AdaIN"] == "<= 1"
    assert goals["sharpness, ratio to real"] == "0.6 to 1.3"
    assert [goal for name, goal in goals.items() if name.startswith("seconds")] == ["<= 2", "<= 20"]
    assert len(drawn) == FACES


def test_a_set_without_clear_groups_is_missing_its_figures(toys, monkeypatch):
    drawn = drawn_toys()
    bars = {bar.name: bar for bar in clusters.wearing_bars(
        drawn, torch.zeros(FACES, len(TRAITS), dtype=torch.bool), 2, {"split": "test"})}
    assert bars["ASIN: the trait is there then"].value is None and not bars["ASIN: the trait is there then"].met
    assert bars["groups with a clear trait that can be worn"].value == 0 and "two-sample accuracy" not in bars


def test_a_trait_is_clear_where_it_is_sure_and_rare():
    """Hats fill group 1, men half of group 0; a trait that half of all have is none."""
    traits = torch.zeros(200, len(TRAITS), dtype=torch.bool)
    labels = torch.arange(200) // 50
    traits[labels == 1, HAT] = True
    traits[::2, MEN] = True
    assert clusters.clear_traits(labels, traits).tolist() == [-1, HAT, -1, -1]
    traits[labels != 3, HAT] = True
    assert clusters.clear_traits(labels, traits).tolist() == [-1, -1, -1, -1]
    assert clusters.clear_traits(torch.arange(4), traits[50:54]).tolist() == [-1] * 4      # one face a group
    assert clusters.clear_traits(labels, traits, 6).tolist() == [-1] * 6


def test_agreement_is_higher_for_groups_that_follow_traits():
    faces = crowd(120)
    followed, chance = torch.arange(120) % 3, torch.arange(120) // 40
    for own, other in zip(clusters.agreement(followed, faces.traits), clusters.agreement(chance, faces.traits),
                          strict=True):
        assert own > 0.2 > 0.05 > abs(other)


def test_wearers_lack_the_trait():
    surely = torch.zeros(30, len(TRAITS), dtype=torch.bool)
    surely[:6, HAT] = True
    maybe = surely.clone()
    maybe[6:10, HAT] = True
    rows, targets = clusters.wearers(torch.tensor([-1, HAT, MEN]), surely, maybe, 4)
    assert targets.tolist() == [1] * 4 and rows.min() >= 10 and len(set(rows.tolist())) == 4
    assert [len(each) for each in clusters.wearers(torch.tensor([-1]), surely, maybe, 4)] == [0, 0]


class Judge(torch.nn.Module):
    """Sees a hat where a picture is bright, and nothing else."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        logits = torch.full((len(x), len(BINARY)), -1.0)
        logits[:, BINARY.index("hat")] = x.mean((1, 2, 3)) * 2
        return {"binary": logits, "continuous": torch.zeros(len(x), len(CONTINUOUS)),
                "pose": torch.zeros(len(x), len(POSE)), "age": torch.zeros(len(x)), "quality": torch.ones(len(x))}


class Embedder(Judge):
    def forward(self, x):
        return x.mean((2, 3)) + self.weight


def test_success_identity_and_leakage():
    """Three of four faces get their hat; the hat itself is no leakage, a change of yaw would be."""
    source = torch.full((4, 3, 16, 16), -0.5)
    made = source.clone()
    made[:3] = 0.5
    judge, ones = Judge(), torch.ones(35)
    found = clusters.measured(clusters.Worn(source, made, torch.full((4,), HAT)), judge, Embedder(), ones)
    assert found["success"] == 0.75 and found["leakage"] == 0 and found["identity"] == pytest.approx(-0.5)
    other = clusters.measured(clusters.Worn(source, made, torch.full((4,), MEN)), judge, Embedder(), ones)
    assert other["success"] == 0 and other["leakage"] == pytest.approx(3 * 2 / (4 * 34))


def test_the_judges_numbers_are_in_the_order_of_names():
    table = clusters.judge_numbers(Judge()(torch.ones(2, 3, 4, 4)))
    assert table.shape == (2, 35) and table[0, NAMES.index("hat")] == 2 and table[0, NAMES.index("smile")] == -1
    assert clusters.attributes_of(torch.tensor([HAT, MEN])).tolist() == [NAMES.index("hat"), NAMES.index("gender")]
    assert clusters.attributes_of(torch.tensor([TRAITS.index("turned left")])).tolist() == [NAMES.index("yaw")]


def test_groups_are_worn_as_in_the_tab(toys):
    """Both translators give pictures of the size that is scored; another group gives another picture."""
    drawn = drawn_toys()
    faces, groups = clusters.shipped_crowd(CROWD)
    clear, rows = torch.full((GROUPS,), HAT), torch.tensor([3, 3, 5])
    for name in ("clusters-asin-tiny", "clusters-adain-tiny"):
        worn = clusters.wear(name, drawn, rows, torch.tensor([0, 1, 0]), clear, faces, groups)
        assert worn.made.shape == worn.source.shape == (3, 3, 128, 128) and worn.made.abs().max() <= 1
        assert torch.equal(worn.source[0], worn.source[1]) and not torch.equal(worn.made[0], worn.made[1])
        assert np.allclose((worn.source[2] + 1).numpy() * 127.5, drawn.images[5].transpose(2, 0, 1), atol=1e-3)


def test_more_vectors_are_made_of_few():
    vectors = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    many = clusters.grown(vectors, 50)
    assert many.shape == (50, 4) and torch.equal(many[:20], vectors)
    assert torch.equal(clusters.grown(vectors, 7), vectors[:7])
    assert (many[20:40] - vectors).norm(dim=1).min() > 0 and (many[20:40] - vectors).norm(dim=1).max() < 1
