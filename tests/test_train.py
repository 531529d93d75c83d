"""The training command: what it records of itself."""

import pytest

from core.commands.train import recorded

LEARNT = "train vectors --preset tiny --minutes 30"


@pytest.mark.parametrize("places", ["", " --out runs/a --ship checkpoints", " --out=/home/me/a --ship=b --resume"])
def test_a_recipe_names_no_place_on_this_machine(places):
    assert recorded(f"{LEARNT}{places}".split()) == f"python -m core {LEARNT}"
    assert recorded(f"train{places} vectors --seed 3".split()) == "python -m core train vectors --seed 3"


def test_a_switch_without_its_value_ends_well():
    assert recorded(["train", "judge", "--out"]) == "python -m core train judge"
