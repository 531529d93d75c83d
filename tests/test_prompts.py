"""core/systems/aging/prompts.py: the age and the person in a prompt, read and changed."""

import pytest

from core import words
from core.errors import SettingsError
from core.systems.aging import prompts


def test_the_ages_and_their_years_are_those_of_the_words():
    assert tuple(words.GROUPS) == prompts.AGES
    assert prompts.SPANS["child"] == (0, 15) and prompts.SPANS["elderly"] == (50, 65)
    assert all(words.group_of(low) == age for age, (low, high) in prompts.SPANS.items())


@pytest.mark.parametrize(("prompt", "age", "older", "without"), [
    ("photo of a wzx person", None, "photo of a wzx person as old", "photo of a wzx person"),
    ("photo of a wzx person as child, smiling", "child", "photo of a wzx person as old, smiling",
     "photo of a wzx person, smiling"),
    ("photo of a person, smiling", None, "photo of a person as old, smiling", "photo of a person, smiling"),
    ("smiling", None, "smiling as old", "smiling"),
    ("Elderly person", "elderly", "old person", "person"),
    ("a bold person", None, "a bold person as old", "a bold person"),      # no age, though "old" is in it
])
def test_an_age_is_read_set_and_left_out(prompt, age, older, without):
    assert prompts.age_in(prompt) == age
    assert prompts.at_age(prompt, "old") == older
    assert prompts.without_age(prompt) == without


@pytest.mark.parametrize(("prompt", "years", "worded"), [
    ("photo of a wzx person as 45 years old, smiling", 45, "photo of a wzx person as middleaged, smiling"),
    ("photo of a 7-year-old person", 7, "photo of a child person"),
    ("photo of a person, 92 YEARS OLD", 92, "photo of a person, old"),
    ("photo of 3 old years", None, "photo of 3 old years"),
])
def test_years_are_read_and_put_in_words(prompt, years, worded):
    assert prompts.years_in(prompt) == years and prompts.in_words(prompt) == worded
    assert prompts.at_age(prompt, "elderly") == prompts.at_age(worded, "elderly")
    assert prompts.without_age(prompt) == prompts.without_age(worded)


def test_years_move_the_age_of_their_group_only():
    assert prompts.positions(None, None) is None and prompts.positions(None, (1, 2, 3, 4, 5, 6)) == (1, 2, 3, 4, 5, 6)
    assert prompts.positions(41, None) == [*words.MIDDLES[:3], 41, *words.MIDDLES[4:]]
    calibrated = (0, 10, 20, 30, 40, 50)
    assert prompts.positions(40, calibrated) == [0, 10, 20, 25, 40, 50]      # halfway between 35 and 45
    assert prompts.positions(199, calibrated)[5] == 50


def test_no_group_has_200_years():
    with pytest.raises(SettingsError, match="200"):
        prompts.in_words("photo of a person as 200 years old")


@pytest.mark.parametrize(("prompt", "about"), [
    ("photo of a wzx person as old", "photo of a sks person as old"),
    ("photo of a person as old", "photo of a sks person as old"),
    ("smiling", "smiling"),
])
def test_a_prompt_is_about_somebody_else(prompt, about):
    assert prompts.about(prompt, "sks") == about


def test_a_prompt_is_about_nobody_in_particular():
    assert prompts.about_anybody("photo of a wzx person as old") == "photo of a person as old"
    assert prompts.about_anybody("photo of a person") == "photo of a person"
