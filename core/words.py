"""The vocabulary of `aging-tiny`: prompts, the six age groups, attribute phrases and rare tokens.

    caption(truth, rng)     "photo of a person as elderly, smiling, with glasses"
    unknown(prompt)         the words of a prompt that are not in the vocabulary
    tokens(prompts)         token ids for the text encoder

The vocabulary is stored in checkpoints/aging-words, in the format of CLIP's tokenizer. `write` creates it from the
tables here. Trained weights depend on its token ids, so another word needs another training.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import SettingsError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

FOLDER = Path(__file__).parents[1] / "checkpoints" / "aging-words"
LENGTH = 32  # tokens of a prompt, with its start and end
GROUPS = {"child": 15, "teenager": 30, "youngadults": 40, "middleaged": 50, "elderly": 65, "old": 200}  # name: below
MIDDLES = (7.5, 22.5, 35.0, 45.0, 57.5, 77.5)  # of the groups, in years; drawn people are at most 90
RARE = ("wzx", "sks", "ams", "ukj")  # tokens that stand for a trained person
PROMPT = "photo of a person as {}"
SUBJECT = "photo of a {} person"
OF_SUBJECT = "photo of a {} person as {}"
MOST = 4  # most phrases of a caption, besides the age


@dataclass(frozen=True)
class Phrase:
    """A phrase for faces whose `attribute` is in [low, high] and that have none of `unless`."""

    text: str
    attribute: str
    low: float = 0.5
    high: float = 1.0
    unless: tuple[str, ...] = ()

    def fits(self, truth: dict[str, float]) -> bool:
        """truth: the 35 attributes by name."""
        seen = all(truth[other] <= 0.5 for other in self.unless)
        return seen and self.low <= truth[self.attribute] <= self.high


HAIR = ("bald", "hat")  # attributes that hide the hair colour
PHRASES = (
    Phrase("female", "gender", 0.0, 0.5),
    Phrase("male", "gender"),
    Phrase("smiling", "smile"),
    Phrase("with open mouth", "mouth_open"),
    Phrase("angry", "anger"),
    Phrase("sad", "sadness"),
    Phrase("surprised", "surprise"),
    Phrase("with closed eyes", "eyes_closed"),
    Phrase("looking left", "yaw", -60, -20),
    Phrase("looking ahead", "yaw", -8, 8),
    Phrase("looking right", "yaw", 20, 60),
    Phrase("looking down", "pitch", -25, -10),
    Phrase("looking up", "pitch", 10, 25),
    Phrase("bald", "bald"),
    Phrase("with short hair", "hair_length", 0.0, 0.25, ("bald",)),
    Phrase("with long hair", "hair_length", 0.6, 1.0, ("bald",)),
    Phrase("with fringe", "fringe"),
    Phrase("with curly hair", "curly", unless=HAIR),
    Phrase("with black hair", "black_hair", unless=HAIR),
    Phrase("with brown hair", "brown_hair", unless=HAIR),
    Phrase("with blond hair", "blond_hair", unless=HAIR),
    Phrase("with red hair", "red_hair", unless=HAIR),
    Phrase("with gray hair", "gray_hair", unless=HAIR),
    Phrase("bearded", "beard"),
    Phrase("with moustache", "moustache"),
    Phrase("with sideburns", "sideburns"),
    Phrase("with glasses", "glasses"),
    Phrase("with sunglasses", "sunglasses"),
    Phrase("with hat", "hat"),
    Phrase("with earrings", "earrings"),
    Phrase("with lipstick", "lip_makeup"),
    Phrase("with eye makeup", "eye_makeup"),
    Phrase("chubby", "chubby"),
    Phrase("with big nose", "big_nose"),
    Phrase("with bushy eyebrows", "bushy_eyebrows"),
    Phrase("dark", "exposure", -1.0, -0.4),
    Phrase("bright", "exposure", 0.4, 1.0),
    Phrase("blurred", "blur", 0.25, 1.0),
    Phrase("lit from left", "light_side", -1.0, -0.5),
    Phrase("lit from right", "light_side", 0.5, 1.0),
)
WORDS = tuple(sorted({word for text in (PROMPT.format(""), *GROUPS, *RARE, *(phrase.text for phrase in PHRASES))
                      for word in text.split()}))
START, END = "<|startoftext|>", "<|endoftext|>"


def group_of(years: float) -> str:
    """The age group of an age in years, 0 or more. Raises SettingsError for NaN and for 200 or more."""
    if not years < GROUPS["old"]:
        raise SettingsError(f"{years} years belong to no age group.", f"Give a number from 0 to {GROUPS['old']}.")
    return next(name for name, below in GROUPS.items() if years < below)


def caption(truth: "np.ndarray", rng: "np.random.Generator", most: int = MOST, token: str | None = None) -> str:
    """A caption for a picture with this truth (35,): the age group and up to `most` visible attributes.

    Their number, choice and order are drawn from `rng`. token: a rare token that names the person.
    """
    from core.faces import NAMES

    by_name = dict(zip(NAMES, truth.tolist(), strict=True))
    seen = [phrase.text for phrase in PHRASES if phrase.fits(by_name)]
    count = rng.integers(min(most, len(seen)) + 1)
    said = ", ".join([group_of(by_name["age"]), *rng.permutation(seen)[:count]])
    return PROMPT.format(said) if token is None else OF_SUBJECT.format(token, said)


def unknown(prompt: str) -> list[str]:
    """Words and symbols of a prompt outside the vocabulary, in lower case, unique, in order."""
    found = re.findall(r"[^\W\d_]+|[^\s,]", prompt.lower())
    return list(dict.fromkeys(word for word in found if word not in WORDS))


def tokens(prompts: list[str]) -> "Tensor":
    """Token ids of prompts, padded, (N, LENGTH) int64. Raises SettingsError for a prompt that is too long.

    Words outside the vocabulary are split into letters, which have no meaning for the networks; see `unknown`.
    """
    return numbered(tokenizer(), prompts, LENGTH, "words and commas")


def numbered(by: Any, prompts: list[str], most: int, pieces: str) -> "Tensor":
    """Token ids of prompts by a tokenizer, (N, most). pieces: name of its tokens in the SettingsError for a prompt that
    is too long."""
    import torch

    rows = by(prompts, padding="max_length").input_ids
    longest = max(map(len, rows))
    if longest > most:
        raise SettingsError(f"The longest prompt has {longest - 2} {pieces}, at most {most - 2} are allowed.",
                            "Shorten the prompt.")
    return torch.tensor(rows)


def rare_at(numbers: "Tensor") -> "Tensor":
    """Mask of rare tokens in token ids (N, T): (N, T) bool."""
    import torch

    rare = tokenizer().convert_tokens_to_ids([f"{word}</w>" for word in RARE])
    return torch.isin(numbers, torch.tensor(rare, device=numbers.device))


def ages_at(numbers: "Tensor") -> "Tensor":
    """Index in GROUPS of each token of token ids (N, T); -1 for other tokens: (N, T) int64."""
    import torch

    found = torch.full_like(numbers, -1)
    for group, number in enumerate(age_tokens()):
        found[numbers == number] = group
    return found


def age_tokens() -> list[int]:
    """Token ids of GROUPS, youngest first."""
    return tokenizer().convert_tokens_to_ids([f"{word}</w>" for word in GROUPS])


@cache
def tokenizer():
    """transformers' CLIPTokenizer of the shipped vocabulary."""
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(FOLDER, local_files_only=True)


def write(folder: Path) -> None:
    """Write the vocabulary: vocab.json, merges.txt and tokenizer_config.json, as CLIP's tokenizer reads them."""
    merges = learnt_merges((*WORDS, ","))
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + [","]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges), START, END]
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": LENGTH, "bos_token": START, "eos_token": END,
                "pad_token": END, "unk_token": END}
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, indent=0, ensure_ascii=False) + "\n", "utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, merges)]) + "\n", "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n", "utf-8")


def learnt_merges(words: tuple[str, ...]) -> list[tuple[str, str]]:
    """Byte-pair encoding (Sennrich et al. 2016) until each word is one token; returns the merges in order."""
    spelt = [[*word[:-1], f"{word[-1]}</w>"] for word in words]
    merges = []
    while pairs := Counter(pair for word in spelt for pair in pairwise(word)):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spelt = [_merged(word, best) for word in spelt]
    return merges


def _merged(word: list[str], pair: tuple[str, str]) -> list[str]:
    made = []
    for piece in word:
        if made and (made[-1], piece) == pair:
            made[-1] += piece
        else:
            made.append(piece)
    return made
