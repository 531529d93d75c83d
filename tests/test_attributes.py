"""The system `attributes`, with toy networks: the contract of every system, and what is its own."""

import contextlib
import subprocess
import sys
import zipfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from attribute_toys import FFHQ, ROWS, SIZE, TINY, photo, pixels, shown, toy_checkout
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_systems import WRONG
from typer.testing import CliRunner

from core import faces, hub, images, systems
from core.commands import run as run_command
from core.engine import choices
from core.engine.result import last
from core.errors import CheckpointError, FacetError, PhotoError, PictureError, SettingsError
from core.faces import ATTRIBUTES, NAMES
from core.systems import attributes
from core.systems.attributes import masks, request
from core.systems.attributes.drawing import turned
from core.systems.attributes.measured import measure
from core.systems.attributes.methods import edited
from core.systems.attributes.networks import Seen
from core.systems.attributes.request import (
    GROUPS,
    METHODS,
    OF_LATENTS,
    REQUESTS,
    Compare,
    Edit,
    Invert,
    Strengths,
    Sweep,
)
from core.systems.attributes.stored import packed, restored, unpacked
from core.systems.attributes.wanted import given_way, wanted_of

SMILE, BALD, FRINGE, YAW, GLASSES = (NAMES.index(name) for name in ("smile", "bald", "fringe", "yaw", "glasses"))
SMALL = {Edit: {"seed": 7, "smile": 1.0, "yaw": 20.0}, Sweep: {"seed": 7, "count": 3, "attribute": "smile"},
         Strengths: {"seed": 7, "glasses": 1.0, "method": "l2m", "count": 3},
         Compare: {"seed": 7, "smile": 1.0}, Invert: {"refine": 2, "seed": 7}}


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    with toy_checkout(tmp_path_factory.mktemp("attributes") / "checkpoints"):
        yield systems.load("attributes")


@pytest.fixture(scope="module")
def made(system) -> dict:
    """All results of each action, drawn once."""
    return {cls: list(system.run(cls(**SMALL[cls]))) for cls in REQUESTS}


# The contract of every system


def test_the_system_is_there_as_soon_as_its_checkpoints_are(system):
    assert attributes.SYSTEM.is_shipped and systems.choose("attributes").name == "tiny"
    names = {row.name for row in hub.rows()}
    assert set(TINY.files()) | set(TINY.files(extra=True)) <= names
    real = set(TINY.files()) | set(TINY.files(extra=True)) <= ROWS.keys()
    code = "from core import systems; print('attributes' in systems.SYSTEMS)"
    said = subprocess.check_output([sys.executable, "-c", code], cwd=Path(__file__).parents[1], text=True)
    assert said.strip() == str(real)


@pytest.mark.parametrize("cls", REQUESTS)
class TestAction:
    def test_results_grow_to_what_was_asked(self, made, cls):
        steps = [result.step for result in made[cls]]
        assert steps == sorted(steps)
        end = made[cls][-1]
        assert end.step == end.steps and end.previews == ()
        assert len(end.images) == len(end.seeds) == len(end.settings) == end.total > 1
        assert all(len(values) == end.total for values in end.scores.values())

    def test_a_picture_carries_its_settings_and_the_mark(self, made, cls):
        end = made[cls][-1]
        for path, kept in zip(end.images, end.settings, strict=True):
            assert images.settings_of(path) == kept and kept["system"] == "attributes"
            assert images.AI_MADE.encode() in Path(path).read_bytes()
            assert kept["judged"].keys() == ATTRIBUTES.keys()

    def test_a_picture_brings_its_request_back(self, system, made, cls):
        end = made[cls][-1]
        kept = system.restored(end.images[0])
        again = last(system.run(kept.request))
        assert isinstance(kept.request, cls) and kept.checkpoint == "tiny"
        assert all(np.array_equal(pixels(a), pixels(b)) for a, b in zip(again.images, end.images, strict=True))
        assert again.settings[0].keys() == end.settings[0].keys()

    def test_a_command_gives_the_same_pictures(self, made, tmp_path, cls):
        app = typer.Typer()
        app.command()(run_command.command(attributes.SYSTEM, cls))
        options = [word for name, value in SMALL[cls].items() for word in (f"--{name}", str(value))]
        done = CliRunner().invoke(app, [*options, "--out", str(tmp_path), "--zip"])
        assert done.exit_code == 0, done.output
        end = made[cls][-1]
        for path in end.images:
            assert np.array_equal(pixels(tmp_path / Path(path).name), pixels(path))
        assert "settings.json" in zipfile.ZipFile(tmp_path / "facet-pictures.zip").namelist()
        said = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "300"}).output
        assert all(f"--{name.replace('_', '-')}" in said for name in (*cls.settings(), "checkpoint"))

    def test_closing_stops(self, system, cls):
        results = system.run(cls(**SMALL[cls]))
        next(results)
        results.close()
        with pytest.raises(StopIteration):
            next(results)

    def test_every_wrong_value_is_refused_with_the_arguments_name(self, cls):
        for name, setting in cls.settings().items():
            assert name.isidentifier() and len(setting.help) > 4 and setting.label
            for value in WRONG[setting.kind]:
                with pytest.raises(SettingsError) as error:
                    cls(**{name: value}).checked()
                assert error.value.message.startswith(f"{name} can't be "), (name, value)
                assert error.value.next_step.endswith(".")

    def test_defaults_are_fine(self, cls):
        asked = cls().checked()
        assert asked.checked() == asked and len(cls.help()) > 40


def test_the_published_choice_is_fetched_or_trained(system):
    """Two of its networks need agreement to terms. One sentence names the missing files."""
    files = {name: ROWS[name] for name in (*FFHQ.files(), *FFHQ.files(extra=True))}
    trained = {"judge-photos", "attributes-ffhq", "attributes-directions-ffhq"}
    assert {name for name, row in files.items() if row.origin == "trained"} == trained
    assert {name for name, row in files.items() if row.agreement} >= {"stylegan2-ffhq", "e4e-ffhq"}
    found = choices.facts(FFHQ)
    assert trained < {*found.missing} and len(found.by_hand) == len(trained)
    with pytest.raises(CheckpointError, match="on this machine"):
        attributes.SYSTEM.make("ffhq")


# Requests


def test_the_groups_of_sliders_have_every_attribute_once():
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(NAMES)
    assert set(NAMES) <= set(Edit.settings()) and not set(NAMES) & set(Invert.settings())


@pytest.mark.parametrize(("asked", "said"), [
    ({"bald": 1.0, "fringe": 1.0}, "bald and fringe .* no hair over the forehead"),
    ({"glasses": 0.9, "sunglasses": 0.8}, "glasses and sunglasses"),
    ({"blond_hair": 1.0, "red_hair": 1.0}, "hair colours share"),
    ({"smile": 1.0, "keep": "age, smile"}, "smile can't change while it is frozen"),
    ({"keep": "charm"}, "keep can't hold 'charm'"), ({"regions": "tail", "source": "example"}, "regions can't hold"),
    ({"regions": "hair"}, "source random"), ({"source": "photo"}, "needs a picture"),
    ({"file": "me.png"}, "can't be used"),
    ({"refine": 3}, "can't be used"), ({"source": "photo", "file": "a", "crop": "1,2"}, "crop can't be"),
    ({"method": "l2m", "age": 30.0}, "age can't be asked of L2M-GAN"),
    ({"method": "l2m", "gender": 1.0}, "gender can't be asked of L2M-GAN"),
    ({"glasses_reference": "a.png"}, "glasses_reference can't be used with the method Latent-to-Latent"),
    ({"method": "l2m", "glasses_reference": "a.png", "keep": "glasses"}, "glasses can't change while"),
    ({"age": 91.0}, "age can't be"), ({"smile": float("nan")}, "smile can't be")])
def test_what_can_not_be_asked_is_explained(asked, said):
    with pytest.raises(SettingsError, match=said):
        Edit(**asked).checked()


def test_a_sweep_stays_within_its_attribute():
    assert Sweep(attribute="yaw", start=-10, end=10, count=3).checked().stops == [-10, 0, 10]
    assert Sweep(attribute="smile", count=2).stops == [0, 1]
    for asked in ({"attribute": "smile", "end": 2.0}, {"attribute": "age", "age": 30.0}, {"keep": "age"},
                  {"attribute": "sunglasses", "glasses": 1.0}):
        with pytest.raises(SettingsError):
            Sweep(**asked).checked()


@pytest.mark.parametrize("name", request.PRESETS)
def test_presets_can_be_asked(name):
    assert Edit(**request.PRESETS[name]).checked().asked == request.PRESETS[name]


def test_what_gives_way_and_what_is_frozen():
    current = torch.full((1, 35), 0.6)
    wanted = wanted_of(current, {"bald": 1.0, "roll": 9.0}, ())
    assert wanted.units[0, BALD] == 1 and wanted.units[0, FRINGE] == 0 and "fringe" in given_way(wanted)
    assert wanted.change[0, SMILE] == 0 == wanted.score_change[0, SMILE] and wanted.turn == 9
    assert not wanted.asked[0, NAMES.index("roll")]
    held = wanted_of(current, {"bald": 1.0}, ("fringe",))
    assert held.units[0, FRINGE] == current[0, FRINGE] and held.frozen[FRINGE] and "fringe" not in given_way(held)


# Editing


@pytest.mark.parametrize("method", OF_LATENTS)
def test_nothing_asked_is_exactly_nothing_changed(system, method):
    source = system.source(Edit(seed=5))
    w = system.latent_of(source, method, wanted_of(source.seen.units, {}, ("smile",)))
    assert torch.equal(w, source.w)
    result = last(system.run(Edit(seed=5, method=method)))
    assert np.array_equal(*shown(result, "edit"), *shown(result, "source"))
    assert result.scores["leaked"][0] == 0 and result.scores["reached"][0] is None


@pytest.mark.parametrize("method", OF_LATENTS)
def test_strength_goes_from_nothing_to_beyond(system, method):
    source = system.source(Edit(seed=5))
    wanted = wanted_of(source.seen.units, {"smile": 1.0}, ())
    moves = [system.latent_of(source, method, wanted, strength) - source.w for strength in (0, 0.5, 1, 2)]
    assert torch.equal(moves[0], torch.zeros_like(moves[0])) and moves[1].norm() > 0
    assert torch.allclose(moves[3], 4 * moves[1], atol=1e-5)


def test_a_picture_is_the_same_alone_and_in_a_strip(system):
    strip = last(system.run(Sweep(seed=9, attribute="smile", count=8, age=60.0)))
    alone = last(system.run(Edit(seed=9, smile=strip.settings[5]["asked"]["smile"], age=60.0)))
    assert strip.settings[5]["asked"]["smile"] == pytest.approx(5 / 7, abs=1e-3)
    exact = last(system.run(Edit(seed=9, smile=5 / 7, age=60.0)))
    assert np.array_equal(shown(strip, "edit")[5], *shown(exact, "edit"))
    assert abs(shown(strip, "edit")[5] - shown(alone, "edit")[0]).max() <= 2
    files = system.files(strip)
    assert Image.open(files["strip"]).size == (8 * (SIZE + 4) - 4, SIZE) and Image.open(files["film"]).n_frames == 14


def test_all_methods_side_by_side_differ(made, system):
    end = made[Compare][-1]
    assert [kept.get("method") for kept in end.settings] == [*METHODS, None]
    edits = shown(end, "edit")
    assert all(np.any(a != b) for a, b in pairwise(edits))
    single = last(system.run(Edit(**SMALL[Compare], method="ganspace")))
    assert np.array_equal(edits[2], *shown(single, "edit"))


def test_a_frozen_attribute_is_a_boundary_that_is_not_crossed(system):
    source, directions = system.source(Edit(seed=5)), system.networks.editors["directions"]
    moves = [system.latent_of(source, "interfacegan", wanted_of(source.seen.units, {"smile": 1.0}, kept)) - source.w
             for kept in ((), ("yaw",))]
    across = [float((move[0, 0] @ directions.normals[YAW]).abs()) for move in moves]
    assert across[1] < 1e-4 < across[0]


def test_roll_turns_the_picture_clockwise_and_leaves_the_latent(system):
    picture = torch.zeros(1, 3, SIZE, SIZE)
    picture[..., 10:14, 30:34] = 1                                              # above the middle
    there = turned(picture, 90)[0, 0].nonzero().float().mean(0)
    assert there[0] == pytest.approx(31.5, abs=1) and there[1] > 45             # now on the right
    source = system.source(Edit(seed=5))
    assert torch.equal(system.latent_of(source, "latent-to-latent", wanted_of(source.seen.units, {"roll": 20.0}, ())),
                       source.w)
    result = last(system.run(Edit(seed=5, roll=20.0)))
    assert np.any(shown(result, "edit")[0] != shown(result, "source")[0])
    assert result.settings[0]["achieved"] == {"roll": 20.0} and result.scores["similarity"][0] == pytest.approx(1)


def test_a_slider_moves_without_computing_the_face_again(system, monkeypatch):
    last(system.run(Edit(seed=21)))
    monkeypatch.setattr(system.sources, "_made", lambda request: pytest.fail("computed twice"))
    assert last(system.run(Edit(seed=21, smile=0.7))).total == 2


def test_sliders_begin_where_the_face_is(system):
    found = system.judged(Edit(seed=5))
    assert found.keys() == ATTRIBUTES.keys() and found["roll"] == 0
    assert all(row.low <= found[name] <= row.high for name, row in ATTRIBUTES.items())


# What was achieved


def test_where_everything_is_asked_nothing_leaks():
    seen = Seen(torch.zeros(1, 35), torch.full((1, 35), 0.5), np.eye(512)[0])
    asked = dict.fromkeys((name for name in NAMES if name != "roll"), 0.5)
    assert measure(wanted_of(seen.units, asked, ()), seen, seen, torch.full((35,), 0.5)).leakage == 0


def test_what_was_asked_achieved_and_leaked():
    units = torch.full((1, 35), 0.1)
    before = Seen(units.logit(), units, np.eye(512)[0])
    scores = before.scores.clone()
    scores[0, SMILE] += 2
    scores[0, YAW] += 1.5
    scores[0, FRINGE] += 9                                                      # tied to bald, so no leak
    after = Seen(scores, scores.sigmoid(), np.eye(512)[0] + np.eye(512)[1])
    found = measure(wanted_of(units, {"smile": 1.0, "bald": 1.0}, ()), before, after, torch.full((35,), 0.5))
    assert found.asked == {"smile": 1.0, "bald": 1.0} and found.achieved["smile"] == pytest.approx(0.451, abs=1e-2)
    assert found.leaked == {"yaw": pytest.approx(3)} and 0 < found.leakage < 3 / 10
    assert 0 < found.reached < 0.5 and found.similarity == pytest.approx(0.5 ** 0.5)


def test_a_drawn_example_comes_with_its_ideal_pair(system):
    result = last(system.run(Edit(source="example", person=2, glasses=1.0)))
    ideal = faces.draw(faces.edit(faces.frontal(2), "glasses", 1.0), SIZE, "aligned", like=faces.frontal(2))
    assert [kept["shown"] for kept in result.settings] == ["edit", "source", "ideal"]
    assert np.array_equal(*shown(result, "ideal"), ideal)
    assert -1 <= result.settings[1]["inversion"] <= 1 and any("inversion" in note for note in result.notes)


# Frozen regions


def test_a_painted_region_stays_to_the_last_bit(system, tmp_path):
    frozen = np.zeros((SIZE, SIZE), np.uint8)
    frozen[20:50, 10:30] = 255
    Image.fromarray(frozen).save(tmp_path / "mask.png")
    asked = {"seed": 5, "smile": 1.0, "age": 90.0, "roll": 10.0, "strength": 2.0}
    result = last(system.run(Edit(**asked, mask=str(tmp_path / "mask.png"))))
    change = abs(shown(result, "edit")[0] - shown(result, "source")[0])
    assert change[frozen > 0].max() == 0 and change[:, 45:].max() > 5
    (tmp_path / "mask.png").unlink()
    again = last(system.run(system.restored(result.images[0]).request))         # the mask is in the picture
    assert np.array_equal(*shown(again, "edit"), *shown(result, "edit"))


def test_the_border_of_a_region_is_smooth_and_outside():
    frozen = np.zeros((64, 64), bool)
    frozen[20:40, 20:40] = True
    weights = masks.weights_of(frozen)[0, 0].numpy()
    assert (weights[frozen] == 1).all() and weights[0, 0] == 0
    assert np.abs(np.diff(weights[30])).max() <= 0.35 and (np.diff(weights[30, 39:]) <= 0).all()


def test_feature_maps_of_a_region_are_the_sources(system):
    """Beside a frozen region, what is drawn fits to it: the seam is weaker than with pasting alone."""
    source = system.source(Edit(seed=5))
    w = source.w + 2 * torch.randn(source.w.shape, generator=torch.Generator().manual_seed(0))
    frozen = np.zeros((SIZE, SIZE), bool)
    frozen[:, :32] = True
    blended, _ = system.drawing.edited(w, source, frozen, 0.0)
    plain = system.drawing.picture(w)
    beside = slice(36, 44)
    off = [abs(picture[:, beside].astype(int) - source.picture[:, beside]).mean() for picture in (blended, plain)]
    assert off[0] < off[1]


def test_a_mask_on_the_opening_face_holds(system):
    asked = system.opening().checked()
    frozen = np.zeros((SIZE, SIZE), bool)
    frozen[: SIZE // 2] = True
    result = last(system.run(replace(asked, frozen=frozen)))
    change = abs(shown(result, "edit")[0] - shown(result, "source")[0])
    assert change[frozen].max() == 0 < change[~frozen].max()


@pytest.mark.parametrize("size", [(64, 32), (32, 32), (128, 128)])
def test_a_mask_of_another_size_is_refused(system, tmp_path, size):
    Image.new("L", size, 255).save(tmp_path / "mask.png")
    with pytest.raises(SettingsError, match=rf"mask can't be a picture of {size[0]} × {size[1]} pixels"):
        system.run(Edit(seed=5, mask=str(tmp_path / "mask.png")))
    with pytest.raises(PictureError):
        system.run(Edit(seed=5, mask=str(tmp_path / "nothing.png")))


def test_regions_of_a_drawn_person_have_names(system):
    asked = Edit(source="example", person=2, regions="hair, background", smile=1.0, strength=2.0)
    labels = faces.regions(faces.frontal(2), SIZE, "aligned")
    frozen = np.isin(labels, [faces.REGIONS.index("hair"), faces.REGIONS.index("background")])
    result = last(system.run(asked))
    change = abs(shown(result, "edit")[0] - shown(result, "source")[0])
    assert change[frozen].max() == 0 < change[~frozen].max()


# Photos


def test_a_photo_without_a_face_is_refused(system, tmp_path):
    with pytest.raises(PhotoError, match="No face"):
        system.run(Edit(source="photo", file=photo(tmp_path, face=False)))
    with pytest.raises(PictureError, match="could not be opened"):
        system.run(Edit(source="photo", file=str(tmp_path / "missing.png")))


def test_a_photo_is_aligned_inverted_and_edited(system, tmp_path):
    path = photo(tmp_path)
    result = last(system.run(Edit(source="photo", file=path, smile=1.0, refine=2)))
    assert [kept["shown"] for kept in result.settings] == ["edit", "source"]
    assert "photo.png" not in str(result.settings)
    Path(path).unlink()
    kept = system.restored(result.images[0])                # neither the photo nor its path is in the picture
    again = last(system.run(kept.request))
    assert np.array_equal(*shown(again, "edit"), *shown(result, "edit"))


def test_refining_comes_nearer_step_by_step_and_can_be_stopped(system):
    results = list(system.run(Invert(person=4, refine=12)))
    original, coarse, fine = (pixels(path) for path in results[-1].images)
    assert abs(fine - original).mean() < abs(coarse - original).mean()
    assert sum(bool(result.previews) for result in results) == 3 and results[-1].previews == ()
    assert [kept.get("refined") for kept in results[-1].settings] == [None, 0, 12]
    under_way = system.run(Invert(person=5, refine=12))
    while not next(under_way).previews:
        pass
    under_way.close()
    assert system.sources._kept.find(("example", 5, 12)) is None


def test_an_inverted_photo_comes_back_as_a_face_to_edit(system, tmp_path):
    result = last(system.run(Invert(source="photo", file=photo(tmp_path), refine=1)))
    kept = system.restored(result.images[-1]).request
    assert isinstance(kept, Edit) and kept.source == "photo"
    assert np.array_equal(shown(last(system.run(kept)), "source")[0], pixels(result.images[-1]))


# What is stored


def test_arrays_are_stored_exactly_and_read_with_care():
    values = np.random.default_rng(0).normal(size=(10, 128)).astype(np.float32)
    assert np.array_equal(unpacked(packed(values)), values)
    mask = values > 0
    assert np.array_equal(unpacked(packed(mask)) > 0, mask)
    good = packed(values)
    for bad in (None, "x", {}, good | {"shape": [10, 129]}, good | {"shape": [-1, 128]}, good | {"kind": "<f8"},
                good | {"data": "%%"}, good | {"data": good["data"][:40]}, good | {"shape": [10**6, 10**6]},
                packed(np.full((1, 4), np.nan, np.float32))):
        with pytest.raises(SettingsError, match="can't be read"):
            unpacked(bad)


@given(stored=st.dictionaries(st.sampled_from(["action", "request", "latent", "frozen", "seed"]),
                              st.sampled_from(["edit", "sweep", "invert"]) | st.integers() | st.floats()
                              | st.dictionaries(st.sampled_from(["source", "seed", "smile", "keep", "count", "refine"]),
                                                st.none() | st.integers() | st.floats() | st.text(max_size=9))))
@settings(max_examples=50, deadline=None)
def test_untrusted_settings_give_a_request_or_a_sentence(stored):
    with contextlib.suppress(FacetError):
        restored(stored).checked()


@pytest.mark.parametrize("shape", [[10**30], [float("inf")], ["1e999"]])
def test_an_impossible_shape_is_one_sentence(shape):
    with pytest.raises(SettingsError, match="can't be read"):
        unpacked({"shape": shape, "kind": "<f4", "data": ""})


def test_a_restored_latent_gives_way_to_a_file_and_to_another_source():
    latent = np.zeros((1, 8), np.float32)
    assert Edit(source="photo", latent=latent).checked().latent is latent
    assert Edit(source="photo", latent=latent, file="other.jpg").checked().latent is None
    assert Edit(source="random", seed=5, latent=latent).checked().latent is None


def test_a_latent_of_another_generator_is_refused(system):
    with pytest.raises(SettingsError, match="shape"):
        last(system.run(Edit(source="photo", latent=np.zeros((1, 64), np.float32))))


# The published choice, at toy size


def test_the_published_choice_edits_pictures_framed_like_ffhq(system, monkeypatch):
    """Drawn people have no place there, and its networks read the crop that they were trained on."""
    choice = replace(FFHQ, generator=TINY.generator, mapper=TINY.mapper,
                     directions=TINY.directions, encoder=TINY.encoder, judge=TINY.judge, embedder=TINY.embedder)
    monkeypatch.setattr(choices, "require", lambda *_, **__: None)
    monkeypatch.setattr(type(attributes.SYSTEM), "choose", lambda *_: choice)
    pipeline = attributes.SYSTEM.make("ffhq")
    ours, theirs = system.source(Edit(seed=5)), pipeline.source(Edit(seed=5))
    assert np.array_equal(ours.picture, theirs.picture) and not torch.allclose(ours.seen.scores, theirs.seen.scores)
    assert last(pipeline.run(Edit(seed=5, smile=1.0))).total == 2
    with pytest.raises(SettingsError, match="source example"):
        pipeline.run(Edit(source="example"))


def test_batches_of_latents_are_edited_alike(system):
    """For scoring, which edits many faces at once."""
    sources = [system.source(Edit(seed=seed)) for seed in (1, 2)]
    w, units = torch.cat([each.w for each in sources]), torch.cat([each.seen.units for each in sources])
    for method in OF_LATENTS:
        both = edited(method, system.networks.editors, w, wanted_of(units, {"smile": 1.0}, ()))
        for row, each in enumerate(sources):
            alone = system.latent_of(each, method, wanted_of(each.seen.units, {"smile": 1.0}, ()))
            assert torch.allclose(both[row:row + 1], alone, atol=1e-5)
