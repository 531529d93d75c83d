"""AttrOP: faces steered towards a pose and a quality; it always ends, and says what it missed."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.errors import SettingsError, VectorError
from core.models.sixdrepnet import SixDRepNet, SixDRepNetConfig, euler_of, rotation_of
from core.systems.vectors.attrop import (
    Moments,
    Networks,
    Seen,
    Targets,
    adam,
    attrop,
    evaluated,
    feature_norm,
    head_yaw,
    judged,
    losses,
    see,
    total,
)

SIDE = 112 * 112 * 3


# A world in which every number can be worked out: the picture is the vector in its first pixels, ten times smaller; its
# first number is the yaw in tens of degrees, its second the quality in tens. The embedding is the vector, a little off.

OFF = 0.2 * torch.randn(512, generator=torch.Generator().manual_seed(9))
OFF[:2] = 0

def paint(vectors):
    return F.pad(vectors / 10, (0, SIDE - 512)).reshape(-1, 3, 112, 112)


def embed(pictures):
    return pictures.flatten(1)[:, :512] * 10 + OFF


def yaw_of(pictures):
    return pictures.flatten(1)[:, 0] * 100


def quality_of(pictures):
    return pictures.flatten(1)[:, 1] * 100


WORLD = Networks(paint, embed, yaw_of, quality_of)


def people(count=3, seed=0):
    vectors = torch.randn(count, 512, generator=torch.Generator().manual_seed(seed)).clamp(-3, 3)
    vectors[:, :2] = 0.5                                # 5 degrees, a quality of 5
    return vectors


def steered(vectors, targets, **options):
    return list(attrop(*WORLD, vectors, targets, **options))


# ------------------------------------------------------------------------------------------------------- it arrives

def test_faces_get_the_yaw_and_the_quality_asked():
    vectors = people()
    path = steered(vectors, Targets(yaw=-30, quality=20), limit=100)
    end = path[-1]
    assert not any(end.missed)
    assert end.iteration < 100 and end.iteration == len(path) - 1
    assert (end.yaw + 30).abs().max() <= 5
    assert end.quality.min() >= 19
    assert end.similarity.min() >= 0.9
    assert (end.images.shape, end.vectors.shape) == ((3, 3, 112, 112), (3, 512))


def test_what_is_returned_is_what_was_checked():
    """Pictures and numbers belong to the vectors returned, not to a later step."""
    for reached in steered(people(), Targets(yaw=40, quality=9), limit=12):
        seen = see(WORLD, reached.vectors, people())
        for name in ("images", "similarity", "yaw", "quality"):
            assert torch.equal(getattr(seen, name), getattr(reached, name)), name


def test_the_first_is_the_faces_as_they_came():
    first = steered(people(), Targets(yaw=40), limit=3)[0]
    assert torch.equal(first.vectors, people())
    assert (first.iteration, first.found, first.limit) == (0, (0, 0, 0), 3)
    assert first.missed == (("yaw",),) * 3


def test_faces_that_are_already_there_stay():
    path = steered(people(), Targets(yaw=5, quality=5))
    assert len(path) == 1
    assert torch.equal(path[0].vectors, people())


def test_an_accepted_face_moves_no_further():
    """The first is as asked; the others still move, and reach what they reach without it."""
    vectors = people()
    vectors[0, 0] = 3.0
    path = steered(vectors, Targets(yaw=30), limit=60)
    assert all(torch.equal(reached.vectors[0], vectors[0]) for reached in path)
    assert path[-1].found[0] == 0 < min(path[-1].found[1:])
    alone = steered(vectors[1:], Targets(yaw=30), limit=60)
    assert len(alone) == len(path)
    assert torch.allclose(alone[-1].vectors, path[-1].vectors[1:], atol=1e-5)


def test_a_face_that_is_like_enough_may_turn_further():
    """Drawn all the way to its likeness, it stays more like than it must."""
    asked = {"yaw": 80.0, "yaw_tolerance": 1.0, "similarity": 0.9}
    held, free = (steered(people(), Targets(**asked, pull_to=to), limit=150)[-1] for to in (None, 0.92))
    assert not any(free.missed)
    assert free.similarity.min() >= 0.9
    assert free.similarity.max() < held.similarity.min()


def test_either_side_goes_the_shorter_way():
    vectors = people(2)
    vectors[1, 0] = -0.5
    end = steered(vectors, Targets(yaw=30, either_side=True), limit=60)[-1]
    assert end.yaw[0] > 25 and end.yaw[1] < -25
    assert not any(end.missed)
    both = steered(vectors, Targets(yaw=30), limit=60)[-1]
    assert both.yaw.min() > 25


def test_likeness_can_be_to_somebody_else():
    """A variation is steered, and held to the person it varies."""
    person, start = people(2), people(2, seed=1)
    mixed = 0.8 * person + 0.4 * start
    end = steered(mixed, Targets(yaw=20, similarity=0.6), likeness=person, limit=60)[-1]
    assert torch.allclose(end.similarity, F.cosine_similarity(end.vectors + OFF, person), atol=1e-5)
    assert not any(end.missed)


def test_the_rate_follows_the_length_of_the_vectors():
    """A network with vectors three times as long gets steps three times as long."""
    def long(vectors):
        return paint(vectors / 3)

    short = steered(people(), Targets(yaw=60), limit=4)
    path = list(attrop(long, embed, yaw_of, quality_of, 3 * people(), Targets(yaw=60), limit=4))
    assert torch.allclose(path[-1].vectors / 3, short[-1].vectors, atol=1e-3)


# ----------------------------------------------------------------------------------------------------- it always ends

@pytest.mark.parametrize(("targets", "missed"), [
    (Targets(quality=500), {"quality"}),                # a picture can't hold it
    (Targets(yaw=80, similarity=1.0, yaw_tolerance=0), {"yaw", "similarity"}),
])
def test_what_cannot_be_met_ends_at_the_limit_and_says_so(targets, missed):
    path = steered(people(), targets, limit=7)
    assert len(path) == 8
    assert path[-1].iteration == path[-1].limit == 7
    assert all(set(each) and set(each) <= missed for each in path[-1].missed)


def test_a_limit_of_nought_only_looks():
    path = steered(people(), Targets(yaw=40), limit=0)
    assert len(path) == 1 and path[0].missed[0] == ("yaw",)


def test_the_best_so_far_never_gets_worse():
    """With steps far too long, the faces jump about; the best stays."""
    path = steered(people(), Targets(yaw=12, yaw_tolerance=0), limit=12, rate=1.0)
    off = torch.stack([(reached.yaw - 12).abs() for reached in path])
    like = torch.stack([100 * (0.7 - reached.similarity).relu() for reached in path])
    assert ((off + like).diff(dim=0) <= 1e-4).all()
    assert any(path[-1].found[row] < path[-1].iteration for row in range(3))


def test_networks_that_see_nothing_accept_nothing():
    """NaN is no yaw of 5 degrees."""
    path = list(attrop(paint, embed, lambda pictures: yaw_of(pictures) * torch.nan, quality_of, people(),
                       Targets(yaw=5), limit=3))
    assert len(path) == 4
    assert all("yaw" in each for each in path[-1].missed)


def test_a_face_lost_on_the_way_comes_back_as_it_was_best():
    """A generator that breaks down after some steps does not take the result with it."""
    def frail(vectors):
        return paint(torch.where(vectors[:, :1] > 1.5, torch.nan, vectors))

    end = list(attrop(frail, embed, yaw_of, quality_of, people(), Targets(yaw=60), limit=30))[-1]
    assert end.vectors.isfinite().all() and end.images.isfinite().all()
    assert end.yaw.min() > 10
    assert end.missed == (("yaw",),) * 3


def test_it_stops_in_the_middle():
    looks = []
    path = attrop(lambda vectors: looks.append(len(vectors)) or paint(vectors), embed, yaw_of, quality_of, people(),
                  Targets(yaw=80), limit=500)
    for reached in path:
        if reached.iteration == 4:
            break
    path.close()
    assert looks == [3] * 5                             # nothing is worked out ahead
    assert reached.yaw.min() > 5


# --------------------------------------------------------------------------------------------------- what it is given

@pytest.mark.parametrize(("vectors", "said"), [
    (torch.full((2, 512), torch.nan), "not finite"),
    (torch.cat((people(1), torch.full((1, 512), torch.inf))), "not finite"),
    (torch.ones(2, 511), "512 numbers"),
    (torch.zeros(1, 512), "zero norm"),
    (torch.cat((people(1), torch.zeros(1, 512))), "zero norm"),
    (torch.ones(512), "rows of 512"),
    (torch.ones(0, 512), "rows of 512"),
    ("a face", "rows of 512"),
])
def test_vectors_that_are_no_face_are_refused_at_once(vectors, said):
    """Before anything is drawn, and whether or not somebody asks for a result."""
    for given in ((vectors, None), (people(2), vectors)):
        with pytest.raises(VectorError, match=said) as error:
            attrop(*WORLD, given[0], Targets(yaw=5), likeness=given[1])
        assert error.value.next_step


def test_as_many_likenesses_as_faces():
    with pytest.raises(VectorError, match="2 faces can't be held to the likeness of 3"):
        attrop(*WORLD, people(2), Targets(yaw=5), likeness=people(3))


@pytest.mark.parametrize("asked", [{"yaw": 91}, {"yaw": float("nan")}, {"yaw": "left"}, {"quality": -1},
                                   {"quality": True}, {"similarity": 1.1}, {"pull_to": 0.5}, {"yaw_tolerance": -1},
                                   {"quality_tolerance": None}, {"quality_weight": float("inf")}])
def test_targets_no_face_can_have_are_refused(asked):
    with pytest.raises(SettingsError, match=next(iter(asked))):
        Targets(**asked)


@pytest.mark.parametrize("options", [{"limit": -1}, {"limit": 2.5}, {"limit": 10**9}, {"limit": float("nan")},
                                     {"rate": float("nan")}, {"rate": -1}])
def test_a_limit_is_a_limit(options):
    with pytest.raises(SettingsError, match=next(iter(options))):
        attrop(*WORLD, people(), Targets(yaw=5), **options)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_nothing_given_is_changed_and_no_mode_matters(mode):
    vectors, likeness = people(), people(seed=2)
    with mode():
        path = steered(vectors, Targets(yaw=40), likeness=likeness, limit=3)
    assert torch.equal(vectors, people()) and torch.equal(likeness, people(seed=2))
    assert not vectors.requires_grad
    assert torch.equal(path[-1].vectors, steered(people(), Targets(yaw=40), likeness=likeness, limit=3)[-1].vectors)
    assert not any(value.requires_grad for value in (path[-1].vectors, path[-1].images, path[-1].yaw))


def test_no_mode_leaks_to_whoever_asks():
    path = attrop(*WORLD, people(), Targets(yaw=40), limit=3)
    with torch.no_grad():
        next(path)
        assert not torch.is_grad_enabled()
    next(path)
    assert torch.is_grad_enabled()


def test_networks_are_left_as_they_are():
    """Weights collect no gradients, trained or frozen."""
    layer = torch.nn.Linear(512, 512)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(512))
    before = layer.weight.detach().clone()
    list(attrop(lambda vectors: paint(layer(vectors)), embed, yaw_of, quality_of, people(), Targets(yaw=30), limit=3))
    assert layer.weight.grad is None
    assert torch.equal(layer.weight, before)


def test_two_at_once_share_nothing():
    """Step by step in turn, they go the ways that they go alone."""
    asked = ((people(), Targets(yaw=-40)), (people(seed=5), Targets(yaw=20, quality=15)))
    alone = [steered(*each, limit=9) for each in asked]
    together = list(zip(*(attrop(*WORLD, *each, limit=9) for each in asked), strict=False))
    for pair, expected in zip(together, zip(*alone, strict=False), strict=True):
        for one, other in zip(pair, expected, strict=True):
            assert torch.equal(one.vectors, other.vectors)
            assert one.found == other.found


# ------------------------------------------------------------------------------------------------------- the arithmetic

def test_adam_is_torchs():
    vectors = people()
    theirs = vectors.clone().requires_grad_()
    optimizer, moments = torch.optim.Adam([theirs], lr=0.1), Moments.none(vectors)
    for step in range(1, 6):
        gradient = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(step))
        theirs.grad = gradient
        optimizer.step()
        direction, moments = adam(gradient, moments, step)
        vectors = vectors - 0.1 * direction
        assert torch.allclose(vectors, theirs, atol=1e-6)


def test_losses_are_the_papers():
    seen = Seen(torch.zeros(4, 512), torch.zeros(4, 3, 112, 112), similarity=torch.tensor([1.0, 0.5, 0.0, -1.0]),
                yaw=torch.tensor([0.0, 50.0, -50.0, 60.0]), quality=torch.tensor([30.0, 27.0, 20.0, 0.0]))
    identity, quality, yaw = losses(seen, Targets(yaw=60, quality=27))
    assert identity.tolist() == [0, 0.5, 1, 2]
    assert quality.tolist() == [0, 0, 7, 27]
    assert yaw.tolist() == [60, 10, 110, 0]
    assert losses(seen, Targets(yaw=-60, either_side=True))[2].tolist() == [60, 10, 10, 0]
    assert total(seen, Targets(yaw=60, quality=27)).tolist() == [60, 60, 217, 227]
    assert total(seen, Targets()).tolist() == [0, 50, 100, 200]
    assert total(seen, Targets(similarity=0.1, pull_to=0.25)).tolist() == [0, 0, 25, 125]


def test_the_gradient_is_that_of_each_face_alone():
    """In parts of eight, and of twenty."""
    vectors, likeness, targets = people(20), people(20, seed=3), Targets(yaw=40, quality=9)
    seen, gradient = evaluated(WORLD, vectors, likeness, targets)
    free = vectors.clone().requires_grad_()
    whole, = torch.autograd.grad(total(see(WORLD, free, likeness), targets).sum(), free)
    assert torch.allclose(gradient, whole, atol=1e-5)
    assert seen.yaw.shape == (20,)
    assert evaluated(WORLD, vectors, likeness, targets, slope=False)[1] is None


def test_saturated_pixels_pass_no_gradient():
    bright = people(1)
    bright[0, 0] = 20.0
    _, gradient = evaluated(WORLD, bright, people(1), Targets(yaw=40))
    assert gradient[0, 0] == 0 and gradient[0, 5] != 0


# ------------------------------------------------------------------------------------------------------------ readers

def test_the_length_of_an_embedding_is_its_quality():
    reads = feature_norm(lambda pictures: torch.tensor([[3.0, 4.0]]).expand(len(pictures), 2))
    assert reads(torch.zeros(2, 3, 112, 112)).tolist() == [5, 5]


def test_the_head_pose_network_gets_its_own_range():
    """224 pixels, RGB from 0 to 1, ImageNet's mean and deviation; yaw is turned to count towards the right."""
    given = []

    def network(x):
        given.append(x)
        return torch.zeros(len(x), 3, 3), torch.tensor([[1.0, 30.0, 2.0]]).expand(len(x), 3)

    pictures = torch.tensor([-1.0, 0.0, 1.0])[None, :, None, None].expand(2, 3, 112, 112)
    assert head_yaw(network)(pictures).tolist() == [-30, -30]
    assert given[0].shape == (2, 3, 224, 224)
    red, green, blue = given[0][0, :, 100, 100].tolist()
    assert red == pytest.approx((0 - 0.485) / 0.229) and green == pytest.approx((0.5 - 0.456) / 0.224)
    assert blue == pytest.approx((1 - 0.406) / 0.225)


def test_gradients_pass_through_the_head_pose_network():
    torch.manual_seed(0)
    network = SixDRepNet(SixDRepNetConfig(stem=4, widths=(4, 6, 8, 10), depths=(1, 2, 2, 1), groups=2)).eval()
    pictures = torch.rand(2, 3, 112, 112).requires_grad_()
    gradient, = torch.autograd.grad(head_yaw(network)(pictures).sum(), pictures)
    assert gradient.isfinite().all() and gradient.abs().max() > 0
    assert [block.rbr_reparam.groups for stage in (network.layer1, network.layer2, network.layer3, network.layer4)
            for block in stage] == [1, 2, 1, 2, 1, 2]


def test_angles_have_gradients_where_they_are_locked():
    """Looking straight up there is no roll; a step from there is still finite."""
    six = torch.tensor([[0.0, 0.0, 1.0, 0.0, 1.0, 0.0]]).requires_grad_()
    angles = euler_of(rotation_of(six))
    assert angles.tolist() == [[0, -90, 0]]
    assert torch.autograd.grad(angles.sum(), six)[0].isfinite().all()


def test_a_rotation_is_one():
    rotation = rotation_of(torch.randn(50, 6, generator=torch.Generator().manual_seed(0)))
    assert torch.allclose(rotation @ rotation.mT, torch.eye(3).expand(50, 3, 3), atol=1e-5)
    assert torch.allclose(torch.linalg.det(rotation), torch.ones(50), atol=1e-5)


@pytest.mark.parametrize("axis", range(3))
def test_angles_are_degrees_of_pitch_yaw_and_roll(axis):
    """A turn by 20 degrees about x, y or z alone."""
    cos, sin = np.cos(np.pi / 9), np.sin(np.pi / 9)
    turn = torch.eye(3)
    a, b = [(1, 2), (2, 0), (0, 1)][axis]
    turn[a, a] = turn[b, b] = cos
    turn[b, a], turn[a, b] = sin, -sin
    expected = torch.zeros(3)
    expected[axis] = 20
    assert torch.allclose(euler_of(turn[None])[0], expected, atol=1e-4)


def leaning_judge(pictures):
    """A judge that takes two pixels' difference for the yaw, and is 3 off."""
    leaning = (pictures[..., 2, 13] - pictures[..., 2, 2]).mean(1)
    return {"pose": torch.stack([leaning + 3, leaning * 0 + 8, leaning * 0 + 9], 1), "quality": torch.tensor([0.5])}


def test_a_judge_gives_yaw_and_quality():
    """Yaw is half of what tells a picture from its mirror image, so a reading that is off both ways falls out."""
    yaw, quality = judged(leaning_judge)
    picture = torch.zeros(2, 3, 16, 16)
    picture[0, ..., 8:] = 7
    assert yaw(picture).tolist() == pytest.approx([7, 0]) and yaw(picture.flip(3))[0] == pytest.approx(-7)
    assert quality(picture).tolist() == [0.5]


def test_what_pleases_one_view_alone_turns_no_face():
    yaw, _ = judged(leaning_judge)
    picture = torch.zeros(1, 3, 16, 16)
    picture[..., 2, 13] = 9
    assert float(leaning_judge(picture)["pose"][0, 0]) == 12 and 0 < float(yaw(picture)) < 9 / 2
