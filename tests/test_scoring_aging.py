"""The bars of aging: who is taught and compared, what counts as right, and that a run which was cut off goes on."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from core import faces_v3 as faces
from core import hub, latent, metrics, scoring, words
from core.commands import score as command
from core.errors import OutputError
from core.images import from_uint8, to_uint8
from core.models import build
from core.sampling import GUIDANCE
from core.scoring import aging, confusion, lessons, people

ALL = tuple(words.GROUPS)


# ------------------------------------------------------------------------------------------------------ the people

def test_a_person_is_taught_from_one_time_of_life():
    for number in range(people.SUBJECTS):
        looks = people.usual(number)
        usual = looks[0].identity.usual_age
        assert len(looks) == people.PICTURES and {face.identity.split for face in looks} == {"test"}
        assert all(abs(face.look.age - usual) <= people.SPREAD + 1e-9 for face in looks)
        assert len({round(face.look.yaw, 3) for face in looks}) == len({face.look.light_side for face in looks}) == 10
    assert people.usual(3) == people.usual(3)


def test_the_real_pictures_are_other_looks_at_all_ages():
    looks = people.later(7)
    assert [words.group_of(face.look.age) for face in looks] == [name for name in ALL for _ in range(people.EACH)]
    assert looks[0].look.age < 3 and looks[-1].look.age > 85
    assert not {face.look.seed for face in looks} & {face.look.seed for face in people.usual(7)}


def test_pictures_are_drawn_once_and_a_cut_run_goes_on(monkeypatch, tmp_path):
    monkeypatch.setenv("FACET_CACHE", str(tmp_path))
    drawn = []

    def draw_many(looks, size, view):
        assert (size, view) == (128, "aligned")
        for face in looks:
            if len(drawn) == 25:
                raise KeyboardInterrupt
            drawn.append(face.identity.number)
            yield np.full((size, size, 3), face.identity.number, np.uint8)

    monkeypatch.setattr(faces, "draw_many", draw_many)
    with pytest.raises(KeyboardInterrupt):
        people.pictures(people.usual, [4, 5, 6], lambda line: None)
    assert drawn == [4] * 10 + [5] * 10 + [6] * 5
    drawn.clear()
    found = people.pictures(people.usual, [4, 5, 6], lambda line: None)
    assert drawn == [6] * 10 and found.shape == (3, 10, 128, 128, 3)
    assert [int(part.max()) for part in found] == [4, 5, 6]


# ------------------------------------------------------------------------------------------------------- comparing

class Reader(torch.nn.Module):
    """Reads person and years off a picture's colour: red says who, green how old."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what, self.unused = what, torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        assert x.shape[1:] == (3, 112, 112)
        red, green = (((x[:, channel, 50, 50] + 1) * 127.5).round() for channel in (0, 1))
        if self.what.startswith("judge"):
            return {"age": green.clamp(max=90)}
        return torch.nn.functional.one_hot(red.long(), 512).float()


def coloured(person, years) -> np.ndarray:
    """Pictures (…, 16, 16, 3) of people and years."""
    person, years = np.broadcast_arrays(person, years)
    flat = np.stack([person, years, np.zeros_like(person)], -1).astype(np.uint8)
    return np.broadcast_to(flat[..., None, None, :], (*person.shape, 16, 16, 3))


MIDDLES = np.repeat([7, 22, 35, 45, 57, 80], 2)     # two pictures an age


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    names = []
    monkeypatch.setattr(hub, "load", lambda name: (names.append(name), Reader(name))[1])
    return names


@pytest.fixture
def gallery(asked) -> aging.Seen:
    """Five people, of whom some are taught."""
    return aging.seen(coloured(np.arange(5)[:, None].repeat(people.PICTURES, 1), 40))


def test_who_steers_never_scores(gallery, asked):
    assert asked == ["embedder-check-tiny-v3", "judge-check-tiny-v3"]


def test_perfect_pictures_meet_every_bar(gallery):
    found = aging.compared(coloured(np.arange(3)[:, None], MIDDLES), gallery)
    assert found.table.tolist() == (torch.eye(6) * 6).tolist()
    assert (len(found.genuine), len(found.impostor)) == (3 * 12 * 10, 3 * 12 * 40)
    assert (len(found.whole_genuine), len(found.whole_impostor)) == (3 * 12, 3 * 12 * 4)
    assert torch.bincount(found.age).tolist() == [60] * 6
    bars = {bar.name: bar for bar in aging.required(found)}
    assert [bar.goal for bar in bars.values()][:3] == [">= 0.90", ">= 0.70", "<= 0.15"]
    assert all(bar.met for bar in bars.values())
    assert bars["FNMR at FMR 0.01, over the six ages"].value == 0


def test_one_age_off_is_not_exact_and_two_are_neither(gallery):
    years = np.array([22, 7, 22, 22, 35, 35, 45, 45, 57, 57, 45, 35])
    found = aging.compared(coloured(np.arange(3)[:, None], years), gallery)
    values = {bar.name: bar.value for bar in aging.required(found)}
    assert values["age judged right"] == round(9 / 12, 4)
    assert values["age judged right or one group off"] == round(10 / 12, 4)
    assert found.table[0].tolist() == [3, 3, 0, 0, 0, 0] and found.table[5].tolist() == [0, 0, 3, 3, 0, 0]


def test_someone_else_is_refused_and_said_at_which_age(gallery):
    who = np.arange(3)[:, None].repeat(12, 1)
    who[:, :2] = 4                                          # as a child, everybody is the same stranger
    found = aging.compared(coloured(who, MIDDLES), gallery)
    assert found.fnmr_at(0) == 1 and found.fnmr_at(1) == 0
    assert found.fnmr(0.01) == pytest.approx(1 / 6)
    assert found.genuine.mean() == pytest.approx(5 / 6)


def test_a_way_that_makes_people_alike_pays_for_it():
    """The threshold comes from its own impostors."""
    table = torch.eye(6).long()
    genuine, none = torch.full((100,), 0.7), torch.zeros(0)
    apart, alike = torch.linspace(-0.3, 0.3, 1000), torch.linspace(0.2, 0.8, 1000)
    rates = [aging.Likeness(table, genuine, others, none, none, none).fnmr(0.01) for others in (apart, alike)]
    assert rates == [0, 1]


def test_how_much_less_is_refused():
    assert aging.reduced(0.2, 0.1) == pytest.approx(0.5) and aging.reduced(0.1, 0.2) == -1 and aging.reduced(0, 0) == 0


def test_all_that_is_asked_for_is_in_the_table(monkeypatch, asked):
    """Of 3 people when quick, of 20 otherwise; the same strangers."""
    def pictures(kind, numbers, tell):
        years = 40 if kind is people.usual else np.repeat(MIDDLES, 2)
        each = people.PICTURES if kind is people.usual else 24
        return coloured(np.array(numbers)[:, None].repeat(each, 1), years)

    made = {}
    monkeypatch.setattr(lessons, "source_hashes", dict)
    monkeypatch.setattr(lessons, "reconstructed", lambda pictures: pictures)
    monkeypatch.setattr(people, "pictures", pictures)
    monkeypatch.setattr(lessons, "all_pictures", lambda ways, numbers, tell: made.update(numbers=numbers) or {
        way.name: coloured(np.array(numbers)[:, None], MIDDLES) for way in ways})
    for quick, short, count in ((True, False, 3), (False, True, 20), (False, False, 20)):
        found = scoring.score("aging", quick, short=short)
        assert made["numbers"] == list(range(count))
        assert found["confusion"] == {"ages": ALL, "counts": (np.eye(6) * 2 * count).tolist()}
        assert any(bar["name"].startswith("contrastive term") for bar in found["bars"]) is not (quick or short)
        assert any(bar["name"].startswith("plain DreamBooth") for bar in found["bars"]) is not short
        assert any(bar["name"].startswith("biometric term") for bar in found["bars"])
        assert any("less than with plain" in bar["name"] for bar in found["bars"]) is not short
    names = [bar["name"] for bar in found["bars"]]
    for way in ("before training", "plain DreamBooth", "biometric term", "contrastive term", "both terms",
                "real pictures at these ages", "real pictures through the autoencoder"):
        assert {f"{way}: {what}" for what in ("age judged right", "FNMR at FMR 0.01", "FNMR at FMR 0.001",
                                              "mean similarity")} <= set(names)
    assert "FNMR at FMR 0.01 less than with plain DreamBooth, relative" in names and len(names) == len(set(names))
    assert [bar["goal"] for bar in found["bars"]].count("reported") == len(names) - 3
    json.dumps(found)


# -------------------------------------------------------------------------------------------------------- teaching

def test_ways_differ_in_the_terms_alone():
    from core.training.dreambooth import PRESETS

    ways = {way.name: lessons.preset_of(way) for way in lessons.WAYS}
    assert ways[lessons.DEFAULT] == PRESETS["tiny"]
    assert ways["plain DreamBooth"] == replace(PRESETS["tiny"], biometric=0.0, contrastive=0.0)
    assert ways["contrastive term"] == replace(PRESETS["tiny"], biometric=0.0, contrastive=0.1)
    assert ways["both terms"] == replace(PRESETS["tiny"], biometric=0.1, contrastive=0.1)
    assert PRESETS["tiny"].biometric == 0.1


def test_pictures_are_scored_as_the_app_draws_them():
    assert lessons.default_sampler() == lessons.Sampler("dpm", 20, GUIDANCE, 0.0)


def test_what_is_kept_is_named_by_all_that_made_it(monkeypatch):
    monkeypatch.setattr(lessons, "default_sampler", lambda: lessons.Sampler("dpm", 20, 5.0, 0.5))
    hashes = {"aging-unet-tiny": "a"}
    monkeypatch.setattr(lessons, "source_hashes", lambda: hashes)
    names = {lessons.cache_path(way, number).name for way in lessons.WAYS for number in (0, 1)}
    assert len(names) == 2 * len(lessons.WAYS)
    hashes["aging-unet-tiny"] = "b"
    assert lessons.cache_path(lessons.WAYS[0], 0).name not in names
    hashes["aging-unet-tiny"] = "a"
    assert lessons.cache_path(lessons.WAYS[0], 0).name in names
    monkeypatch.setattr(lessons, "default_sampler", lambda: lessons.Sampler("dpm", 25, 5.0, 0.5))
    assert lessons.cache_path(lessons.WAYS[0], 0).name not in names


def test_a_cut_run_goes_on(monkeypatch, tmp_path):
    monkeypatch.setenv("FACET_CACHE", str(tmp_path))
    monkeypatch.setattr(lessons, "default_sampler", lambda: lessons.Sampler("dpm", 20, 5.0, 0.5))
    monkeypatch.setattr(lessons, "source_hashes", dict)
    monkeypatch.setattr(lessons, "generate_ages",
                        lambda subject, seeds, sampler: np.full((24, 8, 8, 3), subject[1], np.uint8))
    taught = []

    def taught_one(way, number):
        if len(taught) == 4:
            raise KeyboardInterrupt
        taught.append((way.name, number))
        return taught[-1]

    monkeypatch.setattr(lessons, "train_person", taught_one)
    ways, said = lessons.WAYS[1:3], []
    with pytest.raises(KeyboardInterrupt):
        lessons.all_pictures(ways, [0, 1, 2], said.append, workers=1)
    first = list(taught)
    assert first == [(way.name, number) for number in (0, 1) for way in ways]     # person by person
    taught.clear()
    found = lessons.all_pictures(ways, [0, 1, 2], said.append, workers=1)
    assert taught == [(way.name, 2) for way in ways]
    assert {name: [int(part.max()) for part in parts] for name, parts in found.items()} == {
        way.name: [0, 1, 2] for way in ways}
    assert said[0].startswith("1 of 6 done: test person 0, plain DreamBooth; about ")


@pytest.fixture
def toy(monkeypatch) -> latent.Latent:
    """Untrained networks of toy width, on 32 pixels."""
    torch.manual_seed(0)
    made = latent.Latent(
        "tiny", build("autoencoder", "tiny", size=32, widths=(8, 8, 8, 8), groups=4).eval(),
        build("unet", "tiny", size=4, widths=(16, 16, 32), groups=8, heads=2, text=32).eval(),
        build("text", "tiny", width=32, depth=1).eval(), build("subject", "tiny", width=16, text=32).eval(), 32,
        words.tokens)
    for network in (made.autoencoder, made.unet, made.text, made.subject):
        network.requires_grad_(False)
    monkeypatch.setattr(latent, "load", lambda choice="tiny", device=None: made)
    return made


def test_a_person_is_drawn_age_by_age_from_the_same_seeds(toy):
    from core.subjects import Subject

    subject = Subject("a", "wzx", "tiny", "", {}, torch.randn(32), torch.randn(4, 512),
                      np.zeros((128, 128, 3), np.uint8))
    sampler = lessons.Sampler("dpm", 2, 3.0, 0.5)
    found = lessons.generate_ages(subject, [5, 6], sampler)
    assert found.shape == (12, 32, 32, 3) and found.dtype == np.uint8
    prompt = f"{words.SUBJECT.format('wzx')} as {ALL[2]}"
    plain = toy.encode_prompts([words.SUBJECT.format("wzx")], subject.embedding)
    negative, states = (toy.encode_prompts([""]) + plain) / 2, toy.encode_prompts([prompt], subject.embedding)
    alone = list(latent.denoise(toy.unet, states, negative, [6], "dpm", 2, 3.0))
    with torch.no_grad():
        picture = toy.autoencoder.decode(alone[-1].latents)[0]
    expected = ((picture.clamp(-1, 1) + 1) * 127.5).round().permute(1, 2, 0)
    assert np.abs(found[2 * 2 + 1].astype(int) - expected.numpy()).max() <= 1


def test_a_person_is_taught_from_the_usual_pictures_alone(toy, monkeypatch):
    """No step before training; the terms of a way and no others; the token goes round."""
    from core.training import dreambooth, dreambooth_ages

    shown = []

    def pictures(kind, numbers):
        shown.append((kind, numbers))
        return np.random.default_rng(0).integers(0, 255, (1, 10, 32, 32, 3), np.uint8)

    monkeypatch.setattr(people, "pictures", pictures)
    monkeypatch.setattr(latent, "prior", lambda: (torch.randn(2, 8, 4, 4), ["photo of a person as old"] * 2))
    embedder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(512))
    networks = {"embedder-tiny-v3": embedder, "judge-tiny-v3": Reader("judge")}
    monkeypatch.setattr(hub, "load", networks.get)
    monkeypatch.setitem(dreambooth.PRESETS, "tiny",
                        replace(dreambooth.PRESETS["tiny"], steps=1, rank=2, precision="no", seen=4, little=1.0,
                                looks=1))
    monkeypatch.setattr(dreambooth_ages, "STEPS", 1)
    found = {way.name: lessons.train_person(way, 6) for way in lessons.WAYS}
    assert shown == [(people.usual, [6])] * len(lessons.WAYS)
    assert {subject.token for subject in found.values()} == {words.RARE[2]}
    assert all(len(subject.ages) == 6 for subject in found.values())
    assert {name: subject.settings["taken"] for name, subject in found.items()} == {
        way.name: 0 if way is lessons.WAYS[0] else 1 for way in lessons.WAYS}
    terms = {name: set(subject.settings["losses"]) - {"noise", "prior"} for name, subject in found.items()}
    assert terms == {"before training": set(), "plain DreamBooth": set(), "biometric term": {"biometric"},
                     "contrastive term": {"contrastive"}, "both terms": {"biometric", "contrastive"}}


def test_the_autoencoder_gives_every_picture_back(toy):
    given = np.random.default_rng(0).integers(0, 255, (2, 3, 32, 32, 3), np.uint8)
    found = lessons.reconstructed(given)
    with torch.no_grad():
        alone = toy.autoencoder(from_uint8(given[1, 2:3]))[0].clamp(-1, 1)
    assert found.shape == given.shape and np.abs(found[1, 2].astype(int) - to_uint8(alone)[0]).max() <= 1


def test_seeds_are_a_persons_own():
    seeds = [seed for number in range(people.SUBJECTS) for seed in lessons.seeds_of(number)]
    assert len(set(seeds)) == len(seeds) == people.SUBJECTS * lessons.PICTURES


# ----------------------------------------------------------------------------------------------- the table of ages

COUNTS = [[3, 1], [0, 4]]


def test_confusion_counts_and_what_is_near():
    table = metrics.confusion(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 0]), 3)
    assert table.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert metrics.within(table, 0) == 0.5 and metrics.within(table, 1) == 0.75 and metrics.within(table, 2) == 1


def test_the_confusion_table_as_text():
    lines = confusion.text(("young", "old"), COUNTS).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["young", "old"], ["young", "0.75", "0.25"], ["old", "0.00", "1.00"]]
    assert len({len(line) for line in lines[1:]}) == 1


def test_the_confusion_table_as_a_picture():
    image = confusion.picture(ALL, (np.eye(6) * 8).tolist())
    corners = [image.getpixel((confusion.MARGIN + column * confusion.CELL + 3,
                               confusion.MARGIN // 2 + row * confusion.CELL + 3)) for row, column in ((2, 2), (2, 3))]
    assert corners == [confusion.FULL, confusion.tint(0)]


def run(monkeypatch, found: dict, *arguments: str):
    monkeypatch.setattr(scoring, "score", lambda *arguments: found)
    app = typer.Typer()
    app.command()(command.score)
    return CliRunner().invoke(app, ["aging", *arguments])


def test_the_command_prints_and_plots_the_table(monkeypatch, tmp_path):
    found = {"system": "aging", "confusion": {"ages": ALL, "counts": (np.eye(6) * 2).tolist()},
             "bars": [{"name": "age judged right", "value": 1.0, "goal": ">= 0.70", "met": True}]}
    told = run(monkeypatch, found, "--plot", str(tmp_path / "plots" / "ages.png"))
    assert told.exit_code == 0 and "met" in told.stdout and "asked (rows), judged (columns)" in told.stdout
    with Image.open(tmp_path / "plots" / "ages.png") as image:
        assert image.size[0] > 6 * confusion.CELL
    told = run(monkeypatch, found, "--json")
    assert json.loads(told.stdout)["confusion"]["counts"][0] == [2, 0, 0, 0, 0, 0]


def test_only_aging_is_plotted_and_only_where_that_works(monkeypatch, tmp_path):
    app = typer.Typer()
    app.command()(command.score)
    refused = CliRunner().invoke(app, ["judge", "--plot", "a.png"])
    assert "--plot" in str(refused.exception)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a file is in the way"):
        confusion.write(tmp_path / "file" / "ages.png", ALL, (np.eye(6)).tolist())
