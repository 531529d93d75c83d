"""The training command: what it asks of a recipe, what it refuses, what it records of itself."""


import pytest

from core.commands.train import check_options, checked, none_of, recorded
from core.errors import SettingsError
from core.training.embedder import PRESETS

LEARNT = "train vectors --preset tiny --minutes 30"


@pytest.mark.parametrize("places", ["", " --out runs/a --ship checkpoints", " --out=/home/me/a --ship=b --resume",
                                    " --workers 4"])
def test_a_recipe_names_no_place_on_this_machine(places):
    assert recorded(f"{LEARNT}{places}".split()) == f"python -m core {LEARNT}"
    assert recorded(f"train{places} vectors --seed 3".split()) == "python -m core train vectors --seed 3"


@pytest.mark.parametrize("place", ["--data /home/me/people", "--data=people/", "--data ./people"])
def test_of_a_folder_of_data_only_the_name_is_recorded(place):
    assert recorded(f"train recogniser {place} --seed 3".split()) == (
        "python -m core train recogniser --data people --seed 3")


def test_of_a_file_of_a_network_only_the_name_is_recorded():
    assert recorded("train mapper --judge=/home/me/mine.safetensors --generator stylegan2-ffhq".split()) == (
        "python -m core train mapper --judge mine.safetensors --generator stylegan2-ffhq")


def test_only_some_recipes_take_data():
    assert checked("recogniser", "tiny", None, {"tiny": 0}) == {"data": "drawn"}
    assert checked("recogniser", "tiny", "people", {"tiny": 0}) == {"data": "people"}
    assert checked("judge", "tiny", None, {"tiny": 0}) == {}
    with pytest.raises(SettingsError, match=r"drawn faces only(.|\n)*recogniser"):
        checked("judge", "tiny", "people", {"tiny": 0})


def test_an_option_of_another_recipe_is_refused():
    check_options("embedder", PRESETS["tiny"], ["people", "rate"])
    with pytest.raises(SettingsError, match="--judge and no --latents"):
        check_options("embedder", PRESETS["tiny"], ["judge", "people", "latents"])


def test_an_unknown_preset_is_refused():
    with pytest.raises(SettingsError, match="tiny, tiny-check"):
        checked("embedder", "huge", None, PRESETS)
    with pytest.raises(SettingsError, match="unet, people"):
        checked("aging", "huge", None, {"unet": None})


def test_training_the_shipped_people_takes_no_options_that_it_ignores():
    none_of(set(), 0)
    with pytest.raises(SettingsError, match=r"without --batch and --rate and --workers(.|\n)*Leave out --batch"):
        none_of({"rate", "batch"}, 2)


def test_a_switch_without_its_value_ends_well():
    assert recorded(["train", "judge", "--out"]) == "python -m core train judge"
