"""`run aging` and `teach aging`, on toy networks: whose pictures at which ages, and an adapter of a folder."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from aging_toys import look_little
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from typer.testing import CliRunner

from core import faces_v3 as faces
from core import images, latent, subjects, systems, words
from core.commands import run, teach
from core.engine import choices
from core.engine.result import Result
from core.errors import CheckpointError, SettingsError
from core.models import build
from core.systems.aging.pipeline import Aging
from core.systems.aging.request import PAPER
from core.systems.aging.teaching import UNCALIBRATED, alike
from core.systems.aging.uploads import CROP
from core.training import dreambooth
from core.training.captioned import captioned

# ----------------------------------------------------------------------------------------------------------- toys


def toy() -> latent.Latent:
    """Untrained networks of toy width."""
    torch.manual_seed(0)
    made = latent.Latent(
        "tiny", build("autoencoder", "tiny", widths=(8, 8, 8, 8), groups=4).eval(),
        build("unet", "tiny", widths=(16, 16, 32), groups=8, heads=2, text=32).eval(),
        build("text", "tiny", width=32, depth=1).eval(), build("subject", "tiny", width=16, text=32).eval(), 128,
        words.tokens)
    for network in (made.autoencoder, made.unet, made.text, made.subject):
        network.requires_grad_(False)
    return made


@pytest.fixture
def system(tmp_path, monkeypatch) -> Aging:
    """The pipeline of toy networks, which every command gets; what steers is real."""
    made = Aging.__new__(Aging)

    def make(name, checkpoint=None, folder=None, dtype="float32"):
        assert (name, dtype) == ("aging", "float32")
        made._begin(systems.choose("aging", checkpoint), toy(), folder)
        return made

    monkeypatch.setattr(systems, "make", make)
    monkeypatch.setattr(choices, "sha256", lambda name: "0" * 64)
    return make("aging", folder=tmp_path / "first")


@pytest.fixture
def adapter(tmp_path) -> Path:
    subject = subjects.Subject("Ada", "sks", "tiny", "", {}, torch.randn(32), torch.randn(4, 512),
                               np.zeros((128, 128, 3), np.uint8))
    return subjects.write(subject, tmp_path / "ada.safetensors")


def command(*arguments: str):
    app = typer.Typer()
    app.add_typer(run.run, name="run")
    return CliRunner().invoke(app, ["run", "aging", *map(str, arguments)], catch_exceptions=False)


# ------------------------------------------------------------------------------------------------------- run aging


def test_a_person_at_some_ages_from_the_same_seed(system, adapter, tmp_path):
    out = tmp_path / "out"
    told = command("strip", "--adapter", adapter, "--ages", "old, child", "--steps", "3", "--seed", "7", "--out", out,
                   "--prompt", "photo of a person as elderly, smiling")
    assert told.exit_code == 0
    found = sorted(out.glob("*"))
    assert len(found) == 2 and all(path.suffix == ".png" for path in found)     # nothing of what was on the way
    kept = [images.settings_of(path) for path in found]
    assert [each["drawn"] for each in kept] == [f"photo of a sks person as {age}, smiling" for age in ("child", "old")]
    assert {each["seed"] for each in kept} == {7} and {each["subject"] for each in kept} == {"Ada"}
    lines = [line for line in told.stdout.splitlines() if "similarity" in line]
    assert len(lines) == 2 and all("seed 7" in line and "years" in line and "quality" in line for line in lines)


def test_all_ages_are_a_strip(system, tmp_path):
    told = command("strip", "--ages", "all", "--steps", "2", "--seed", "3", "--out", tmp_path / "out", "--prompt",
                   "photo of a person, dancing")
    made = [images.settings_of(path) for path in (tmp_path / "out").glob("*.png")]
    assert sorted(each["group"] for each in made) == sorted(words.GROUPS)
    assert "dancing" in told.stdout         # a word that the networks don't know is named


def test_the_papers_settings_and_what_overrules_them(system, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(type(system), "draw", lambda self, request: asked.append(request) or iter((Result(),)))
    command("draw", "--preset", "paper", "--out", tmp_path, "--seed", "1")
    command("draw", "--preset", "paper", "--out", tmp_path, "--steps", "30", "--count", "2", "--negative", "hat")
    assert {name: getattr(asked[0], name) for name in PAPER} == PAPER
    assert (asked[1].solver, asked[1].steps, asked[1].count, asked[1].negative) == ("ddim", 30, 2, "hat")


def test_an_adapter_that_is_none_or_for_another_base_is_refused(system, adapter, tmp_path):
    (tmp_path / "cut.safetensors").write_bytes(adapter.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"cut\.safetensors"):
        command("draw", "--adapter", tmp_path / "cut.safetensors", "--out", tmp_path / "out")
    other = subjects.write(replace(subjects.read(adapter), base="sd14"), tmp_path / "other.safetensors")
    with pytest.raises(SettingsError, match="sd14"):
        command("draw", "--adapter", other, "--out", tmp_path / "out")


# ------------------------------------------------------------------------------------------------- a person taught


@pytest.fixture(scope="module")
def album(tmp_path_factory) -> Path:
    """Six pictures of one person, cut out already, and a text."""
    folder = tmp_path_factory.mktemp("album") / "Grace"
    folder.mkdir()
    person, mark = faces.person(3, "test"), PngInfo()
    mark.add_text(CROP, "1")
    for number in range(6):
        look = replace(faces.through_life(person, 35), yaw=6.0 * number - 15, light_side=0.3 * number - 0.8)
        picture = Image.fromarray(faces.draw(faces.Face(person, look), 128, "aligned"))
        picture.save(folder / f"{number}.png", pnginfo=mark)
    (folder / "notes.txt").write_text("not a picture")
    return folder


@pytest.fixture
def few(monkeypatch, system) -> None:
    """Two steps of teaching, beside a made-up captioned set, and a little looking after them."""
    look_little(monkeypatch)
    preset = replace(dreambooth.PRESETS["tiny"], steps=2, precision="no", rank=2)
    monkeypatch.setitem(dreambooth.PRESETS, "tiny", preset)
    said = [words.PROMPT.format(age) for age in words.GROUPS]
    monkeypatch.setattr(latent, "prior", lambda: (torch.randn(6, 8, 16, 16), said))


def test_a_folder_becomes_an_adapter_and_the_adapter_pictures(few, album, tmp_path, capsys):
    teach.teach("aging", album, token="ams", out=tmp_path / "taught")
    told = capsys.readouterr().out
    assert "notes.txt: " in told and "step 2 of 2  noise " in told and "run aging strip --adapter" in told
    assert "calibrating ages: 100%" in told and "calibrated ages: " in told
    found = subjects.read(tmp_path / "taught" / "Grace.safetensors", "tiny")
    assert (found.name, found.token, len(found.faces)) == ("Grace", "ams", 6)
    assert all(warning in told for warning in alike(found.ages)) and UNCALIBRATED not in told
    assert found.settings["taken"] == 2 and any(value.abs().max() > 0 for value in found.weights.values())
    told = command("draw", "--adapter", tmp_path / "taught" / "Grace.safetensors", "--steps", "2", "--out",
                   tmp_path / "out")
    assert told.exit_code == 0 and len(list((tmp_path / "out").glob("*.png"))) == 1


def test_the_command_that_is_named_after_teaching_draws_with_the_same_base(few, album, tmp_path, monkeypatch, capsys):
    make = systems.make
    monkeypatch.setattr(systems, "make", lambda system, base, dtype, **more: make(system, "tiny", **more))
    monkeypatch.setitem(dreambooth.PRESETS, "sd-lora", replace(dreambooth.PRESETS["tiny"], base="sd14"))
    for preset, wanted in (("tiny", ".safetensors\n"), ("sd-lora", ".safetensors --checkpoint sd14\n")):
        teach.train_person(album, preset=preset, out=tmp_path / preset)
        assert wanted in capsys.readouterr().out


def test_ages_that_look_the_same_are_warned_about(few, album, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(dreambooth, "calibrate_ages", lambda years: (8.0, 20.0, 20.5, 45.0, 60.0, 80.0))
    teach.train_person(album, out=tmp_path / "taught")
    assert "look the same for this person: teenager and youngadults" in capsys.readouterr().out


def test_stopping_keeps_what_was_learned_and_resuming_ends_the_same(few, album, tmp_path, monkeypatch, capsys):
    tell = teach.print_progress

    def stopped(lesson):
        raise KeyboardInterrupt

    whole = teach.train_person(album, out=tmp_path / "whole")
    monkeypatch.setattr(teach, "print_progress", stopped)
    half = subjects.read(teach.train_person(album, out=tmp_path / "half", name="G. H."))
    told = capsys.readouterr().out
    assert half.settings["taken"] == 1 and "--resume" in told and UNCALIBRATED in told
    monkeypatch.setattr(teach, "print_progress", tell)
    rest = subjects.read(teach.train_person(album, out=tmp_path / "half", resume=True))
    assert rest.settings["taken"] == 2
    expected = subjects.read(whole)
    assert all(torch.equal(expected.weights[key], value) for key, value in rest.weights.items())
    assert torch.equal(expected.embedding, rest.embedding) and expected.ages == rest.ages and half.ages is None


def test_what_cannot_be_taught_is_said(few, album, tmp_path):
    with pytest.raises(SettingsError, match="is not a folder"):
        teach.train_person(tmp_path / "nowhere", out=tmp_path / "out")
    (tmp_path / "one").mkdir()
    with pytest.raises(SettingsError, match="There are no pictures"):
        teach.train_person(tmp_path / "one", out=tmp_path / "out")
    with pytest.raises(SettingsError, match=r"has no pictures, but .*Grace has") as error:
        teach.train_person(album.parent, out=tmp_path / "out")
    assert error.value.next_step.endswith(f"--images {album}")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "Grace.safetensors").write_bytes(b"mine")
    with pytest.raises(SettingsError, match="already contains a run"):
        teach.train_person(album, out=tmp_path / "run")
    (tmp_path / "one" / "a.png").write_bytes((album / "0.png").read_bytes())
    with pytest.raises(SettingsError, match="only 1 usable picture"):
        teach.train_person(tmp_path / "one", out=tmp_path / "out")
    with pytest.raises(SettingsError, match="tiny, paper, sd-lora"):
        teach.train_person(album, preset="huge", out=tmp_path / "out")


def test_others_of_a_folder_stand_beside(album, tmp_path):
    for age, count in (("old", 2), ("child", 1)):
        (tmp_path / age).mkdir()
        for number in range(count):
            (tmp_path / age / f"{number}.png").write_bytes((album / f"{number}.png").read_bytes())
    base = toy()
    latents, captions = captioned(base, tmp_path)
    assert captions == ["photo of a person as child", *["photo of a person as old"] * 2]
    with torch.no_grad():
        expected = base.autoencoder.encode(images.to_tensor(Image.open(album / "1.png")))[0]
    assert latents.shape == (3, 8, 16, 16) and torch.allclose(latents[2], expected, atol=1e-4)
    with pytest.raises(SettingsError, match=r"no pictures(.|\n)*child, teenager"):
        captioned(base, album)
    with pytest.raises(SettingsError, match=f"but {tmp_path} has"):
        captioned(base, tmp_path.parent)
