"""The vocabulary that ships, and captions that say what is so in words it holds."""

from itertools import pairwise

import numpy as np
import pytest

from core import words
from core.errors import SettingsError
from core.faces import ATTRIBUTES, NAMES
from core.models.text import PRESETS

YAW, AGE, SMILE, GLASSES, BALD, BLACK = (
    NAMES.index(name) for name in ("yaw", "age", "smile", "glasses", "bald", "black_hair"))


def truths(count: int) -> np.ndarray:
    """Random numbers for all 35 attributes, each over its range."""
    low, high = (np.array([getattr(a, end) for a in ATTRIBUTES.values()]) for end in ("low", "high"))
    return low + (high - low) * np.random.default_rng(0).random((count, 35))


def test_the_vocabulary_that_ships_is_that_of_the_tables(tmp_path):
    words.write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in words.FOLDER.iterdir()}
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (words.FOLDER / path.name).read_bytes(), path.name


def test_every_word_is_one_token_and_no_two_share_one():
    found = [words.tokenizer().tokenize(word) for word in (*words.WORDS, ",")]
    assert all(len(pieces) == 1 for pieces in found)
    assert len({piece for piece, in found}) == len(words.WORDS) + 1


def test_the_text_encoder_has_a_place_for_every_token():
    tokenizer, tiny = words.tokenizer(), PRESETS["tiny"]
    assert (len(tokenizer), tokenizer.model_max_length) == (tiny.vocabulary, tiny.length)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (tiny.vocabulary - 2, tiny.vocabulary - 1)


def test_prompts_become_numbers():
    numbers = words.tokens(["Photo of a WZX person as elderly, smiling", ""])
    start, end = words.tokenizer().bos_token_id, words.tokenizer().eos_token_id
    assert numbers.shape == (2, words.LENGTH) and numbers[:, 0].tolist() == [start, start]
    assert numbers[0, 10:].unique().tolist() == [end] and numbers[1, 1:].unique().tolist() == [end]
    with pytest.raises(SettingsError, match=r"40 words and commas, at most 30"):
        words.tokens(["a " * 40])


@pytest.mark.parametrize(("prompt", "named"), [
    ("photo of a wzx person as old, with glasses", []),
    ("Photo of a GRANNY, with 2 hats; granny!", ["granny", "2", "hats", ";", "!"]),
    ("älter_als", ["älter", "_", "als"]),
    ("", []),
])
def test_words_outside_the_vocabulary_are_named(prompt, named):
    assert words.unknown(prompt) == named


def test_every_word_a_prompt_may_hold_is_known():
    prompts = [words.PROMPT.format(group) for group in words.GROUPS]
    prompts += [words.SUBJECT.format(token) for token in words.RARE] + [phrase.text for phrase in words.PHRASES]
    assert [word for prompt in prompts for word in words.unknown(prompt)] == []


@pytest.mark.parametrize(("years", "group"), [(0, "child"), (14.99, "child"), (15, "teenager"), (30, "youngadults"),
                                              (49, "middleaged"), (50, "elderly"), (64.9, "elderly"), (65, "old")])
def test_age_groups(years, group):
    assert words.group_of(years) == group


@pytest.mark.parametrize("years", [float("nan"), float("inf"), 200])
def test_years_that_nobody_has_belong_to_no_group(years):
    with pytest.raises(SettingsError, match="belong to no age group"):
        words.group_of(years)


def test_captions_say_the_age_and_nothing_that_is_not_so():
    rng, table = np.random.default_rng(1), {phrase.text: phrase for phrase in words.PHRASES}
    lengths = set()
    for truth in truths(200):
        head, *said = words.caption(truth, rng).split(", ")
        assert head == words.PROMPT.format(words.group_of(truth[AGE]))
        assert all(table[text].fits(dict(zip(NAMES, truth, strict=True))) for text in said)
        assert len(set(said)) == len(said)
        lengths.add(len(said))
    assert lengths == set(range(words.MOST + 1))


def test_captions_fit_and_stay_within_the_vocabulary():
    captions = [words.caption(truth, np.random.default_rng(row)) for row, truth in enumerate(truths(300))]
    assert not any(words.unknown(caption) for caption in captions)
    assert words.tokens(captions).shape == (300, words.LENGTH)
    longest = sorted((len(phrase.text.split()) + 1 for phrase in words.PHRASES), reverse=True)[: words.MOST]
    assert len(words.PROMPT.split()) + sum(longest) <= words.LENGTH - 2


def test_the_same_draw_gives_the_same_caption_and_another_order_another():
    truth = truths(1)[0]
    said = {words.caption(truth, np.random.default_rng(seed)) for seed in range(30)}
    assert len(said) > 10
    assert words.caption(truth, np.random.default_rng(3)) == words.caption(truth, np.random.default_rng(3))


def test_what_is_hidden_is_not_said():
    truth = np.zeros(35)
    truth[[BALD, BLACK, SMILE]] = 1
    by_name = dict(zip(NAMES, truth, strict=True))
    fitting = {phrase.text for phrase in words.PHRASES if phrase.fits(by_name)}
    assert {"bald", "smiling", "female"} <= fitting and not {"with black hair", "with short hair"} & fitting


def test_ages_are_found_in_prompts():
    found = words.ages_at(words.tokens(["photo of a wzx person as old, smiling", "photo of a person", "child, old"]))
    assert found.shape == (3, words.LENGTH) and found[1].eq(-1).all()
    assert found[0][found[0] >= 0].tolist() == [5] and found[2][found[2] >= 0].tolist() == [0, 5]
    assert found[0].argmax() == 7       # after the start, and six words


def test_a_groups_middle_is_in_the_middle():
    edges = (0, *list(words.GROUPS.values())[:-1], ATTRIBUTES["age"].high)
    assert list(words.MIDDLES) == [(low + high) / 2 for low, high in pairwise(edges)]


def test_nearly_every_attribute_has_words():
    """But for the roll, which aligning a face takes away, and the age, which has the groups."""
    assert set(NAMES) - {phrase.attribute for phrase in words.PHRASES} == {"age", "roll"}
