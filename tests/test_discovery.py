"""Groups of a crowd: typical and borderline faces, over-represented traits in words, the tree over k, sheets, table."""

import csv
import io

import numpy as np
import pytest
import torch

from core.clustering import Clusters
from core.errors import SettingsError
from core.faces import ATTRIBUTES, BINARY, NAMES
from core.models.judge import CONTINUOUS, MEASURES, POSE, attribute_table
from core.systems.clusters import sheets, tree, words
from core.systems.clusters.crowd import Faces, faces_of
from core.systems.clusters.discovery import describe, discover


def crowd(count: int = 60) -> Faces:
    """Faces of three kinds, each a flat colour; every second of the first kind smiles, all of the second have hats."""
    kind = np.arange(count) % 3
    images = np.zeros((count, 32, 32, 3), np.uint8)
    images[np.arange(count), :, :, kind] = 200
    table = torch.zeros(count, 35)
    table[:, NAMES.index("age")] = 30
    table[(kind == 0) & (np.arange(count) % 2 == 0), NAMES.index("smile")] = 1
    table[kind == 1, NAMES.index("hat")] = 1
    faces = faces_of([f"face-{row}.png" for row in range(count)], images, table)
    noise = 0.05 * torch.randn(count, 4, generator=torch.Generator().manual_seed(0))
    faces.vectors["texture"] = torch.eye(4)[torch.from_numpy(kind)] + noise
    return faces


# Words


def test_a_table_of_the_truth_and_one_of_a_judge_that_knows_it_agree():
    draw = torch.Generator().manual_seed(0)
    low, high = (torch.tensor([getattr(a, end) for a in ATTRIBUTES.values()]) for end in ("low", "high"))
    truth = low + (high - low) * torch.rand(20, 35, generator=draw)
    measures = truth[:, [NAMES.index(name) for name in MEASURES]]
    answers = {"binary": truth[:, [NAMES.index(name) for name in BINARY]] - 0.5, "age": measures[:, -1],
               "continuous": measures[:, :len(CONTINUOUS)], "pose": measures[:, len(CONTINUOUS):-1]}
    assert len(POSE) == answers["pose"].shape[1]
    assert torch.equal(words.traits_of(attribute_table(answers)), words.traits_of(truth))


def test_every_age_is_one_of_six():
    table = torch.zeros(91, 35)
    table[:, NAMES.index("age")] = torch.arange(91.0)
    found = words.traits_of(table)[:, [words.TRAITS.index(age) for age in words.AGES]]
    assert (found.sum(1) == 1).all()
    assert [int(found[:, age].sum()) for age in range(6)] == [15, 15, 10, 10, 15, 26]


def test_a_trait_is_named_where_it_is_surely_more_frequent():
    faces = crowd(120)
    labels = torch.arange(120) % 3
    found = words.shared(faces.traits, labels, 3)
    assert [[each.trait for each in group] for group in found] == [["smiling"], ["hat"], []]
    hat = found[1][0]
    assert (hat.share, hat.base) == (1.0, pytest.approx(1 / 3)) and hat.base < hat.lower < 1
    assert words.shared(faces.traits[:3], labels[:3], 3) == [(), (), ()]       # one face a group says little


def test_an_empty_group_has_nothing_in_common():
    assert words.shared(crowd().traits, torch.zeros(60, dtype=torch.int64), 2)[1] == ()


# Groups


def test_groups_of_a_crowd():
    faces = crowd()
    found = discover(faces.vectors["texture"], 3, seed=1, traits=faces.traits)
    assert [group.size for group in found.groups] == [20, 20, 20] and found.k == 3
    assert [group.words for group in found.groups] == ["smiling", "hat", ""]
    own = found.distances[:, 0]
    for group in found.groups:
        assert len(group.typical) == 6 and len(group.borderline) == 2
        assert own[group.typical[0]] == own[found.clusters.labels == group.number].min()
        assert all(found.clusters.labels[row] == group.number != other for row, other in group.borderline)
        assert not {row for row, _ in group.borderline} & {*group.typical}


def test_the_closest_call_is_borderline():
    vectors = torch.tensor([[0.0], [0.1], [0.0], [0.05], [0.1], [0.02], [0.03], [0.46], [1.0], [1.1]])
    found = describe(vectors, Clusters(torch.tensor([0] * 8 + [1] * 2), torch.tensor([[0.0], [1.0]])))
    assert found.groups[0].borderline[0] == (7, 1)


def test_a_map_has_two_numbers_a_face():
    assert discover(torch.tensor([[0.0], [1.0], [5.0]]), 2).points.tolist() == [[0, 0], [1, 0], [5, 0]]


# The tree


def test_a_group_splits_into_others():
    """Four clumps in two pairs: k 2 finds the pairs, k 4 the clumps; each clump has its pair as parent."""
    centres = torch.tensor([[0.0, 0.0], [0.0, 1.0], [9.0, 0.0], [9.0, 1.0]])
    vectors = centres.repeat_interleave(torch.tensor([40, 30, 20, 10]), 0)
    vectors = vectors + 0.05 * torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    coarse, fine = tree.tree_of([discover(vectors, 4), discover(vectors, 2)])
    assert [node.size for node in coarse] == [70, 30] and [node.parent for node in coarse] == [None, None]
    assert [(node.size, node.parent, node.share_from_parent) for node in fine] == [
        (40, 0, 1), (30, 0, 1), (20, 1, 1), (10, 1, 1)]
    assert tree.as_dict([coarse, fine])["levels"][1]["groups"][3]["parent"] == 1


def test_levels_of_a_tree():
    assert tree.levels_in("", 7, 100) == () and tree.levels_in("20, 10 50", 20, 100) == (10, 20, 50)
    for wrong in ("ten", "1, 5", "10, 101", "2, 3, 4, 5, 6, 7, 8"):
        with pytest.raises(SettingsError, match="tree can't be"):
            tree.levels_in(wrong, 20, 100)


# Faces in memory


def test_faces_come_back_as_they_went_in():
    faces = crowd()
    assert faces.images([0, 4]).shape == (2, 32, 32, 3)
    assert np.abs(faces.images([4])[0].astype(int) - [0, 200, 0]).max() <= 2


def test_features_are_computed_once_and_in_steps():
    from core.features import space_of

    calls = []

    class Mean(torch.nn.Linear):
        def features(self, x):
            calls.append(len(x))
            return x.mean((2, 3))

    faces, space = crowd(70), space_of("shape")
    assert list(faces.extract(space, Mean(1, 1))) == [64, 70] and calls == [64, 6]
    assert list(faces.extract(space, Mean(1, 1))) == [] and len(calls) == 2
    assert faces.vectors_in("shape").shape == (70, 3)
    assert discover(faces.vectors_in("shape"), 3).clusters.sizes.tolist() == [24, 23, 23]


# Files


def test_a_strip_shows_the_faces_of_its_group():
    faces = crowd()
    found = discover(faces.vectors["texture"], 3, seed=1, traits=faces.traits)
    picture = np.asarray(sheets.strip(faces, found.groups[1])).astype(int)
    middle = picture[sheets.LINE + sheets.FACE // 2, sheets.FACE // 2]
    assert np.abs(middle - [0, 200, 0]).max() <= 2
    assert sheets.title(found.groups[1]) == "Group 1: 20 faces, hat 100% (all: 33%)"
    assert (picture[:sheets.LINE] < 100).any()         # the title is written
    stack = sheets.stacked([sheets.strip(faces, group) for group in found.groups], rows=2)
    assert stack.width > 2 * picture.shape[1] and stack.height < 3 * picture.shape[0]


def test_a_sheet_of_members_has_them_all():
    faces = crowd()
    found = discover(faces.vectors["texture"], 3, seed=1)
    picture = sheets.members(faces, found, 2)
    assert picture.size == (10 * sheets.MEMBER, sheets.LINE + 2 * sheets.MEMBER)
    last = picture.getpixel((picture.width - 9, picture.height - 9))
    assert np.abs(np.array(last) - [0, 0, 200]).max() <= 3


def test_the_table_has_a_row_for_each_face_and_no_formulas():
    faces = crowd(6)
    found = discover(faces.vectors["texture"], 3)
    names = ("=cmd()", *faces.names[1:])
    rows = [*csv.reader(io.StringIO(sheets.table(Faces(names, faces.files, faces.table), found)))]
    assert rows[0][:3] == ["picture", "group", "group size"] and len(rows) == 7
    assert rows[1][0] == "'=cmd()" and rows[2][0] == "face-1.png"
    assert [int(row[1]) for row in rows[1:]] == found.clusters.labels.tolist()
    assert all(float(row[3]) <= float(row[5]) and row[1] != row[4] for row in rows[1:])
