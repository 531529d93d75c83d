"""Whole data sets, on a handful of pictures: stopped and gone on with, in shards, every decision in the tables."""

import csv
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import images, systems
from core.__main__ import main
from core.commands.generate import parted, shared
from core.engine import choices
from core.engine.result import last
from core.errors import OutputError, SettingsError
from core.systems.vectors import datasets, steering
from core.systems.vectors.datasets import Plan, generate, image_seed

PLAN = Plan(identities=5, images=3, seed=7, threshold=0.1, similarity=0.55)      # strict: some of everything happens


@pytest.fixture(scope="module", autouse=True)
def small_batches():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "BATCH", 4)                                      # 4 + 2, 4 + 2, 3
        yield


@pytest.fixture(scope="module")
def system():
    """The pipeline, scribbling instead of drawing; what is scribbled depends on the batch, as rounding does."""
    pipeline = systems.load("vectors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "_pictures", scribbled)
        yield pipeline


def scribbled(vectors: np.ndarray, origins: np.ndarray) -> tuple[list[Image.Image], list[float]]:
    dice = np.random.default_rng(abs(int(vectors.sum() * 1e4)))
    assert vectors.shape == origins.shape
    return ([Image.fromarray(dice.integers(0, 255, (112, 112, 3), np.uint8)) for _ in vectors],
            dice.uniform(0.4, 0.8, len(vectors)).tolist())


@pytest.fixture(scope="module")
def whole(system, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    *_, end = generate(system, folder, PLAN)
    assert end.done == end.total == 15
    return folder


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as stream:
        return list(csv.DictReader(stream))


def contents(folder: Path, pattern: str = "*") -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob(pattern) if path.is_file()}


# -------------------------------------------------------------------------------------------------- what comes out

def test_a_run_that_was_killed_ends_the_same(system, whole, tmp_path, monkeypatch):
    run = generate(system, tmp_path, PLAN)
    assert [next(run).done for _ in range(3)] == [0, 4, 6]
    run.close()
    with (tmp_path / "images.csv").open("a") as stream:
        stream.write("2,9,0,17,0.3,0.6,0.5,kept,,000002/0000.png\n2,9,1,1")      # killed while writing two rows
    (tmp_path / ".images").mkdir(exist_ok=True)
    (tmp_path / ".images" / "vectors-0123.png").write_bytes(b"half a picture")
    drawn, draw = [], system._pictures
    monkeypatch.setattr(system, "_pictures", lambda *both: drawn.append(len(both[0])) or draw(*both))
    assert [progress.done for progress in generate(system, tmp_path, PLAN)] == [6, 10, 12, 15]
    assert drawn == [4, 2, 3]                                                    # nothing is drawn twice
    assert contents(tmp_path) == contents(whole)
    drawn.clear()
    assert last(generate(system, tmp_path, PLAN)).done == 15
    assert drawn == []


def test_a_table_cut_in_its_first_line_begins_again(system, whole, tmp_path):
    next(generate(system, tmp_path, PLAN))
    (tmp_path / "images.csv").write_text("identity,ident")
    last(generate(system, tmp_path, PLAN))
    assert contents(tmp_path) == contents(whole)


def test_shards_together_are_the_whole(system, whole, tmp_path):
    plan = Plan(5, 3, 7, 0.1, similarity=0.55, shards=2)
    for shard in (2, 1):
        last(generate(system, tmp_path, plan, shard))
    first, second = rows(tmp_path / "images-1-of-2.csv"), rows(tmp_path / "images-2-of-2.csv")
    assert [{row["identity"] for row in part} for part in (first, second)] == [{"0", "1", "4"}, {"2", "3"}]
    assert sorted(first + second, key=lambda row: (row["identity"], row["image"])) == rows(whole / "images.csv")
    assert contents(tmp_path, "*.png") == contents(whole, "*.png")
    assert (tmp_path / "identities.csv").read_bytes() == (whole / "identities.csv").read_bytes()


def test_every_picture_is_in_the_table(whole):
    table = rows(whole / "images.csv")
    assert [(int(row["identity"]), int(row["image"])) for row in table] == [(p, i) for p in range(5) for i in range(3)]
    assert {row["decision"] for row in table} == {"kept", "dropped"}
    for row in table:
        assert (float(row["similarity"]) >= 0.55) == (row["decision"] == "kept")
        assert 0 <= float(row["quality"]) <= 1
        assert int(row["seed"]) == image_seed(int(row["identity_seed"]), int(row["image"]))
        assert row["reason"] == ("" if row["decision"] == "kept" else "similarity below 0.55")
        assert bool(row["file"]) == (row["decision"] == "kept")
    assert {row["file"] for row in table} - {""} == set(contents(whole, "*.png"))
    assert len({row["seed"] for row in table}) == 15


def test_every_person_considered_is_in_the_table(whole, system):
    table = rows(whole / "identities.csv")
    assert [int(row["seed"]) for row in table] == list(range(7, 7 + len(table)))
    accepted = [row for row in table if row["decision"] == "accepted"]
    assert [row["identity"] for row in accepted] == list("01234")
    assert len(table) > 5
    assert system._people.choose(5, 7, 0.1) == [int(row["seed"]) for row in accepted]
    for row in table:
        assert (row["reason"] == "") == (row["decision"] == "accepted")
        if row["decision"] == "rejected":
            assert float(row["similarity"]) >= 0.1
            assert row["nearest_seed"] in row["reason"]
    people = {row["identity"]: row["identity_seed"] for row in rows(whole / "images.csv")}
    assert people == {row["identity"]: row["seed"] for row in accepted}


def test_the_tab_makes_the_same_picture(tmp_path):
    system = systems.make("vectors")
    last(generate(system, tmp_path, Plan(1, 3, seed=7, similarity=-1)))
    row = rows(tmp_path / "images.csv")[1]
    request = system.restored(tmp_path / row["file"]).request
    assert (request.source, request.sigma, request.seed) == ("vector", float(row["sigma"]), int(row["seed"]))
    assert np.array_equal(request.faces[0].vector, system._people.draw([int(row["identity_seed"])])[0].numpy())
    again = last(system.run(request))
    pair = [np.asarray(Image.open(path)).astype(int) for path in (tmp_path / row["file"], again.images[0])]
    assert abs(pair[0] - pair[1]).max() <= 1
    assert again.scores["similarity"][0] == pytest.approx(float(row["similarity"]), abs=2e-3)
    *_, _ = generate(system, tmp_path / "plain", Plan(1, 1, seed=7, similarity=-1, shares=((0.0, 1.0),)))
    plain = tmp_path / "plain" / "000000" / "0000.png"       # as it is, the person's seed is not the picture's
    redrawn = last(system.run(system.restored(plain).request))
    assert abs(np.asarray(Image.open(plain)).astype(int) - np.asarray(Image.open(redrawn.images[0]))).max() <= 1
    assert images.settings_of(tmp_path / row["file"])["quality"] == float(row["quality"])


def test_the_choice_that_draws_judges_its_pictures(system, tmp_path, monkeypatch):
    monkeypatch.setattr(system, "choice", systems.choose("vectors", "base"))
    monkeypatch.setattr(choices, "require_all", lambda names, cannot: None)
    monkeypatch.setattr(choices, "sha256", lambda name: f"hash of {name}")
    monkeypatch.setattr(steering, "quality_reader", lambda choice, device: lambda images: 20 + images.mean((1, 2, 3)))
    with pytest.raises(SettingsError, match="quality"):
        next(generate(system, tmp_path, Plan(2, 2, quality=60.5 - 1e-9)))
    *_, end = generate(system, tmp_path, Plan(2, 2, similarity=-1, quality=20))
    table, about = rows(tmp_path / "images.csv"), json.loads((tmp_path / "dataset.json").read_text())
    assert all(19 < float(row["quality"]) < 21 for row in table) and end.done == 4
    assert [row["decision"] == "kept" for row in table] == [float(row["quality"]) >= 20 for row in table]
    assert about["magface-r100"] == "hash of magface-r100" and "judge-tiny" not in about


def test_more_quality_than_the_judge_counts_is_refused(system, tmp_path):
    with pytest.raises(SettingsError, match="quality"):
        next(generate(system, tmp_path, Plan(2, 2, quality=27)))
    assert not contents(tmp_path)


def test_quality_is_a_filter_too():
    assert datasets._fault(0.9, 0.2, Plan(1, 1, quality=0.4)) == "quality below 0.4"
    assert datasets._fault(0.1, 0.2, Plan(1, 1, quality=0.4)) == "similarity below 0.3 and quality below 0.4"
    assert datasets._fault(0.3, 0.4, Plan(1, 1, quality=0.4)) == ""


# ---------------------------------------------------------------------------------------------------- what is wanted

def test_sigmas_come_in_their_shares():
    assert Counter(Plan(1, 50).sigmas()) == {0.3: 20, 0.5: 20, 0.7: 10}
    assert Plan(1, 50).sigmas()[:7] == Plan(1, 7).sigmas()
    assert Counter(Plan(1, 9, shares=((0.2, 2), (0.9, 1))).sigmas()) == {0.2: 6, 0.9: 3}


@pytest.mark.parametrize(("identities", "pictures", "shards"), [(5, 3, 2), (9, 1, 3), (3, 11, 4), (1, 1, 2)])
def test_shards_have_every_picture_once(identities, pictures, shards):
    plan = Plan(identities, pictures, shards=shards)
    batches = [batch for shard in range(1, shards + 1) for batch in plan.batches(shard)]
    drawn = sorted(row for batch in batches for row in batch)
    assert drawn == [(person, image) for person in range(identities) for image in range(pictures)]
    assert sorted(batches) == sorted(Plan(identities, pictures).batches(1))      # the same batches, the same pictures


def test_another_data_set_is_not_mixed_in(system, whole):
    before = contents(whole)
    with pytest.raises(SettingsError, match="its seed is 7, not 8") as caught:
        next(generate(system, whole, Plan(5, 3, 8, 0.1, similarity=0.55)))
    assert "another folder" in caught.value.next_step
    with pytest.raises(SettingsError, match="its shards is 1, not 2"):
        next(generate(system, whole, Plan(5, 3, 7, 0.1, similarity=0.55, shards=2)))
    assert contents(whole) == before


def test_what_cannot_be_had_leaves_nothing_behind(system, tmp_path):
    with pytest.raises(SettingsError, match=r"Only \d+ of 1,000 people"):
        next(generate(system, tmp_path / "set", Plan(1000, 1, threshold=-0.5)))
    assert not contents(tmp_path)


@pytest.mark.parametrize("name", ["identities.csv", "images.csv"])
def test_tables_that_are_somebodys_own_are_left_alone(system, tmp_path, name):
    (tmp_path / name).write_text("my,own\n1,2\n")
    with pytest.raises(SettingsError, match=f"another {name} than ours"):
        next(generate(system, tmp_path, PLAN))
    assert [path.read_text() for path in tmp_path.iterdir() if path.suffix == ".csv"] == ["my,own\n1,2\n"]


BOM = b"\xef\xbb\xbf"


def touched(folder: Path, whole: Path) -> None:
    """A data set without its last batch, as an editor for tables saves it again."""
    shutil.copytree(whole, folder, dirs_exist_ok=True)
    for name in ("identities.csv", "images.csv", "dataset.json"):
        (folder / name).write_bytes(BOM + (folder / name).read_bytes().replace(b"\n", b"\r\n"))
    lines = (folder / "images.csv").read_bytes().splitlines(keepends=True)
    (folder / "images.csv").write_bytes(b"".join(lines[:-3]))


def test_a_data_set_that_an_editor_saved_again_goes_on(system, whole, tmp_path):
    touched(tmp_path, whole)
    before = (tmp_path / "images.csv").read_bytes()
    assert [progress.done for progress in generate(system, tmp_path, PLAN)] == [12, 15]
    after = (tmp_path / "images.csv").read_bytes()
    assert after.startswith(before) and after.removeprefix(BOM).replace(b"\r\n", b"\n") == contents(whole)["images.csv"]


@pytest.mark.parametrize(("name", "content"), [
    ("dataset.json", b""), ("dataset.json", b"[1]"), ("dataset.json", b"\xff"), ("identities.csv", b""),
    ("identities.csv", b"seed;decision\n1;accepted\n"), ("identities.csv", None),
    ("images.csv", b"identity;image\n0;1\n")])
def test_a_damaged_file_of_a_data_set_is_named_and_nothing_is_written(system, whole, tmp_path, name, content):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    (tmp_path / name).unlink() if content is None else (tmp_path / name).write_bytes(content)
    before = contents(tmp_path)
    with pytest.raises(SettingsError, match=name):
        list(generate(system, tmp_path, PLAN))
    assert contents(tmp_path) == before


def test_a_picture_of_the_users_own_is_not_replaced(system, tmp_path):
    (tmp_path / "000000").mkdir()
    for number in range(PLAN.images):
        (tmp_path / "000000" / f"{number:04d}.png").write_bytes(b"mine")
    with pytest.raises(SettingsError, match="would be overwritten"):
        list(generate(system, tmp_path, PLAN))
    assert {content for name, content in contents(tmp_path, "*.png").items() if name.startswith("000000")} == {b"mine"}


def test_a_folder_that_is_a_file(system, tmp_path):
    (tmp_path / "set").write_text("")
    with pytest.raises(OutputError, match="can't be written"):
        next(generate(system, tmp_path / "set", PLAN))


@pytest.mark.parametrize("wrong", [{"identities": 0}, {"images": 0}, {"seed": -1}, {"threshold": 2}, {"quality": -0.1},
                                   {"similarity": float("nan")}, {"shares": ()}, {"shares": ((0.3, 0),)},
                                   {"shares": ((2.0, 1),)}, {"shards": 0}, {"identities": 1.5}])
def test_plans_that_are_not(wrong):
    with pytest.raises(SettingsError):
        Plan(**{"identities": 5, "images": 3, **wrong})


@pytest.mark.parametrize("shard", [0, 3, "1"])
def test_shards_that_are_not(system, tmp_path, shard):
    with pytest.raises(SettingsError, match="shard"):
        next(generate(system, tmp_path, Plan(5, 3, shards=2), shard))


# ------------------------------------------------------------------------------------------------- the command line

def test_the_command_makes_a_set(tmp_path, capsys):
    wanted = ["generate", str(tmp_path / "set"), "--identities", "2", "--images", "2", "--sigma", "0.4=1",
              "--similarity", "-1"]
    with pytest.raises(SystemExit) as caught:
        main(wanted)
    assert caught.value.code == 0
    assert "4 of 4 drawn, 4 kept" in capsys.readouterr().out
    assert sorted(contents(tmp_path / "set", "*.png")) == [f"00000{p}/000{i}.png" for p in range(2) for i in range(2)]
    assert {row["sigma"] for row in rows(tmp_path / "set" / "images.csv")} == {"0.4"}
    with pytest.raises(SystemExit):
        main([*wanted[:3], "3", *wanted[4:]])
    assert re.search(r"SettingsError: .*its identities is 2, not 3", capsys.readouterr().err)


@pytest.mark.parametrize("text", ["0/4", "5/4", "a/b", "2", "1/0", "-1/4", "1.5/4", ""])
def test_shards_are_read(text):
    assert parted("2/4") == (2, 4)
    with pytest.raises(SettingsError, match="--shard 1/4"):
        parted(text)


@pytest.mark.parametrize("text", ["0.3", "a=b", "0.3=0.4=0.5", ""])
def test_shares_are_read(text):
    assert shared("0.3=0.4") == (0.3, 0.4)
    with pytest.raises(SettingsError, match=r"--sigma 0.3=0.4"):
        shared(text)
