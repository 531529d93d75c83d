"""What Stable Diffusion is not asked to draw: sexual or violent content.

    refuse(prompt)              SettingsError that names the words, or nothing
    refuse_without(negative)    the same of a negative prompt
    unsafe(pictures, checker)   which pictures Stable Diffusion's safety checker would withhold

A short English list has what is nearly always meant so; harmless uses are taken out first. The usual disguises (n4ked,
n.a.k.e.d, nakeeed, a letter borrowed from Greek) are undone. The safety checker sees what the list lets pass.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from core.errors import SettingsError

if TYPE_CHECKING:
    from PIL import Image

CLOTHES = r"(clothes|clothing|clothed|garments?|underwear|pants|trousers)"
REFUSED = {     # by kind: whole words in plain letters, and phrases
    "sexual": (
        *r"""
        nud(e|es|ity|ists?) naked\w* unclothed undress(ed|es|ing)? topless nsfw porno?s? pornograph\w* sex sexy
        sexual(ly|ity|i[sz]ed?)? erotica? lewd kinky fetish(es)? bdsm bondage lingerie panties bra strip(tease|pers?)
        prostitutes? whores? sluts? slutty horny orgasm(s|ic)? masturbat\w+ f[u*]ck\w* (blow|hand)jobs? gangbangs?
        threesomes? orgy cum(shots?)? penis(es)? vaginas? vulva pussy cunts? genitals? genitalia nipples? boobs? tits
        breasts? assholes? hentai\w* lolicon\w* incest(uous)? pa?edophil\w+ rap(e|es|ed|ing|ists?)
        molest(s|ed|ing|er)?""".split(),
        r"(without|no|not wearing|wearing no|tak(es?|ing) off|remov(es?|ed|ing))"
        rf"( (any|all|his|her|their|the))? {CLOTHES}",
        r"(wearing|dressed in) nothing", r"bare (breast|chest|butt|bottom)(ed|s)?", r"mak(e|es|ing) love"),
    "violent": (
        *r"""
        gor(e|y|ier|iest) blood(y|ied|bath|shed)? bleed(s|ing)? kill(s|ed|ing|ers?)? murder(s|ed|ing|ers?)?
        behead(s|ed|ing)? decapitat\w+ dismember\w* disembowel\w* mutilat\w+ tortur(e|es|ed|ing) massacred? corpses?
        stab(s|bed|bing)? strangl(e|es|ed|ing) suicid(e|al) lynch(ed|ing)""".split(),
        r"shoot(s|ing)? (him|her|them|himself|herself|people)", r"shot (dead|in the (head|face|chest))",
        r"(gun|knife|pistol|blade|axe) (to|at|in|against) (his|her|their) (head|throat|neck|face|chest)",
        r"(cut|slash)(s|es|ting|ing)? (his|her|their) (throat|wrists?)", r"burn(ed|t|ing)? alive",
        r"dead (body|bodies|man|woman|child|person|people|girl|boy)"),
}
FINE = re.compile(r"\b({})\b".format("|".join((
    r"nude[ -](colou?r(ed)?|lip(stick|s)?|lip gloss|make-?up|nails?|shoes|tones?|shades?|eye ?shadow)",
    r"(same|opposite) sex", r"cum laude", r"bra straps?", r"breast (cancer|pocket|stroke)s?",
    r"kinky([ -]+(curly|coily|straight|black|brown|dark|long|short))*[ -]+(hair|curl|lock|afro)(ed|s)?",
    r"(blue|great|coal|marsh) tits?", r"pussy ?willows?",
    r"blood ?(orange|moon|type|pressure|hound|shot|donor|test|red)s?",
    r"bloody (mary|good|brilliant|lovely|great|marvellous)", r"bleeding (edge|heart|gum)s?", r"nose[ -]?bleed(s|ing)?",
    r"killer (whale|smile|look|outfit|heel)s?", r"kill(ing|ed)? (time|bill)", r"dressed to kill", r"murder mystery",
    r"stab at"))))
YOUNG = (r"(child|children|kid|girl|boy|teen|teenage|teenaged|teenager|preteen|pre teen|adolescent|toddler|baby|infant|"
         r"minor|schoolgirl|schoolboy|underage)s?")
MINOR = re.compile(r"\b(\d|1[0-7]|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|"
                   r"fourteen|fifteen|sixteen|seventeen)[\s-]*(years?|yrs?|y)[\s-]*(old|o)\b")
IMPROPER = (r"(bikini|swimsuit|swimwear|seductive|seductively|sensual|flirty|flirting|provocative|suggestive|"
            r"shirtless|stockings)")
PATTERNS = {kind: re.compile(rf"\b({'|'.join(rows)})\b") for kind, rows in REFUSED.items()}
SIGNS = str.maketrans({"0": "o", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "9": "g", "@": "a", "$": "s",
                       "€": "e", "|": "l", "+": "t"})
ALIKE = str.maketrans(dict(zip("аеорсхуіѕјһԁαεικνοπρτυχ", "aeopcxyisjhdaeiknonptux", strict=True)))
NEXT = "Describe a face: an age, a mood, hair, light.  photo of a person as elderly, smiling"


def refuse(prompt: str) -> None:
    """Raise SettingsError, which names the words, when a prompt asks for sexual or violent content."""
    kind, words = found(prompt)
    if kind:
        raise SettingsError(f"Facet draws nothing {kind}, and {words!r} in the prompt asks for it.", NEXT)


def refuse_without(negative: str) -> None:
    """Raise SettingsError when a negative prompt leads away from clothes. Other words there keep things out: fine."""
    for text in _readings(negative):
        if words := re.search(rf"\b{CLOTHES}\b", text):
            raise SettingsError(f"Facet draws nothing sexual, and {words[0]!r} in the negative prompt asks for it.",
                                NEXT)


def found(prompt: str) -> tuple[str, str]:
    """What is refused in a prompt: its kind, "sexual" or "violent", and the words; two empty texts for nothing."""
    return next((each for text in _readings(prompt) if (each := _found_in(text))[0]), ("", ""))


def _found_in(text: str) -> tuple[str, str]:
    """`found` in a text of plain letters."""
    text = " ".join(re.findall(r"[a-z*]+", MINOR.sub("child", FINE.sub(" ", text))))
    if young := re.search(rf"\b{YOUNG}\b.*\b{IMPROPER}\b|\b{IMPROPER}\b.*\b{YOUNG}\b", text):
        return "sexual", young[0][:60]
    return next(((kind, match[0]) for kind, pattern in PATTERNS.items() if (match := pattern.search(text))), ("", ""))


# ------------------------------------------------------------------------------------------------------- disguises

def _readings(prompt: str) -> list[str]:
    """The prompt in plain lower-case letters: as written, and with its disguises taken off."""
    letters = unicodedata.normalize("NFKD", prompt.lower().translate(ALIKE))
    text = "".join(letter for letter in letters if unicodedata.category(letter) not in ("Mn", "Cf"))
    texts = [text, *(" ".join(_unsigned(word, one) for word in text.split()) for one in "il")]
    texts += [_joined(each) for each in texts]
    return list(dict.fromkeys([*texts, *(re.sub(r"([a-z])\1{2,}", r"\1", each) for each in texts)]))     # nakeeed


def _unsigned(word: str, one: str) -> str:
    """A word whose digits and signs stand for letters, as these; numbers stay. one: what 1 and ! stand for."""
    body, end = re.fullmatch(r"(.*?)([.,;:!?]*)", word).groups()
    if re.search(r"[^\W\d_]|[$@]", body):
        body = body.translate(SIGNS).replace("1", one).replace("!", one)
    return body + end


def _joined(text: str) -> str:
    """Letters that stand apart, "n a k e d", "n.a.k.e.d", "na-ked", "nak_ed", put together."""
    apart = re.sub(r"(?<![a-z])(?:[a-z][\s._\-/,]+){2,}[a-z](?![a-z])", lambda found: _bare(found[0]), text)
    return re.sub(r"[a-z]+(?:[._\-][a-z]+)+", lambda found: f"{found[0]} {_bare(found[0])}", apart)


def _bare(text: str) -> str:
    return re.sub(r"[^a-z]", "", text)


# -------------------------------------------------------------------------------------------------------- pictures

def unsafe(pictures: "Sequence[Image.Image]", checker: Any) -> list[bool]:
    """Which pictures the safety checker of Stable Diffusion withholds. checker: a core.models.safety.Safety."""
    import torch

    from core import images

    device = next(checker.parameters()).device
    seen = images.to_tensor([central(picture, checker.config.size) for picture in pictures])
    with torch.inference_mode():
        return checker(seen.to(device)).tolist()


def central(picture: "Image.Image", size: int) -> "Image.Image":
    """The shorter side made `size` pixels, then the middle cut out, as CLIP wants it."""
    from PIL import Image

    scale = size / min(picture.size)
    picture = picture.resize([max(size, int(side * scale)) for side in picture.size], Image.Resampling.BICUBIC)
    left, top = ((side - size) // 2 for side in picture.size)
    return picture.crop((left, top, left + size, top + size))
