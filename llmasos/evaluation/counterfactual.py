"""Counterfactual texts: the same said of others. Whole words for people are swapped by pairs, their case kept. Pure.

A text and its counterfactual differ only in whom they speak of, so a model that is told both has nothing to learn from
the difference. English alone. What a word is may depend on the next one: `her` is `his` before what she has, and `him`
elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from llmasos.errors import UsageError

_GENDER = """
he she, himself herself, man woman, men women, boy girl, boys girls, guy gal, guys gals, lad lass, lads lasses,
male female, males females, masculine feminine, masculinity femininity, gentleman lady, gentlemen ladies, sir madam,
mr ms, father mother, fathers mothers, dad mom, dads moms, daddy mommy, papa mama, fatherly motherly,
fatherhood motherhood, paternal maternal, paternity maternity, grandfather grandmother, grandfathers grandmothers,
grandpa grandma, stepfather stepmother, godfather godmother, son daughter, sons daughters, grandson granddaughter,
grandsons granddaughters, stepson stepdaughter, brother sister, brothers sisters, brotherhood sisterhood,
stepbrother stepsister, husband wife, husbands wives, boyfriend girlfriend, boyfriends girlfriends, groom bride,
grooms brides, widower widow, widowers widows, uncle aunt, uncles aunts, nephew niece, nephews nieces, king queen,
kings queens, prince princess, princes princesses, emperor empress, duke duchess, heir heiress, hero heroine,
heroes heroines, wizard witch, wizards witches, monk nun, monks nuns, actor actress, actors actresses, host hostess,
hosts hostesses, waiter waitress, waiters waitresses, steward stewardess, stewards stewardesses, landlord landlady,
businessman businesswoman, businessmen businesswomen, chairman chairwoman, policeman policewoman,
policemen policewomen, salesman saleswoman, salesmen saleswomen, spokesman spokeswoman, congressman congresswoman,
sportsman sportswoman, sportsmen sportswomen, schoolboy schoolgirl, schoolboys schoolgirls
"""
_RELIGION = """
christian muslim, christians muslims, christianity islam, church mosque, churches mosques, bible quran, priest imam,
priests imams
"""
_ORIGIN = """
african european, africans europeans, africa europe, asian american, asians americans, asia america
"""
_BEFORE_PEOPLE = {"origin": "black white", "age": "old young, older younger, oldest youngest"}
_PEOPLE = frozenset((
    "man", "woman", "men", "women", "boy", "girl", "boys", "girls", "guy", "gal", "guys", "gals", "lad", "lass", "lads",
    "lasses", "gentleman", "lady", "gentlemen", "ladies", "people", "person", "persons", "child", "children", "family",
    "families", "couple", "couples", "neighbour", "neighbours", "neighbor", "neighbors", "worker", "workers", "student",
    "students", "teacher", "teachers", "patient", "patients", "friend", "friends", "father", "mother", "fathers",
    "mothers", "brother", "sister", "brothers", "sisters", "son", "daughter", "sons", "daughters", "male", "female",
    "males", "females", "citizen", "citizens", "colleague", "colleagues", "voter", "voters", "driver", "drivers",
))  # fmt: skip
# Behind `her` and `his`: what no one has.
_NEVER_OWNED = """
a about after again all alone also although am an and any are as at away back be because been before behind being
beside between but by can could did do does down during each either every everything for from had has have he here
herself him himself how i if in inside into is it just like may me might must never nor not now of off on once only
onto or out over outside she should since so some something than that the them then there these they this those
though through till to today together tomorrow too toward towards under unless until up us very was we well were
what when where whether which while who whom whose why will with without would yesterday yet you
"""
_ONE_WAY = {"mrs": "mr", "mum": "dad", "mummy": "daddy"}
_FUNCTION_WORDS = frozenset(_NEVER_OWNED.split())
_WORD = re.compile(r"(?<!\w)[A-Za-z]+(?!\w)")
_NEXT = re.compile(r"[ \t\n]+([A-Za-z]+)(?!\w)")


def _both_ways(pairs: str) -> dict[str, str]:
    listed = [pair.split() for pair in pairs.replace("\n", " ").split(",")]
    return {word: other for one, another in listed for word, other in ((one, another), (another, one))}


_WORDS: Mapping[str, Mapping[str, str]] = {
    "gender": _both_ways(_GENDER) | _ONE_WAY,
    "religion": _both_ways(_RELIGION),
    "origin": _both_ways(_ORIGIN),
    "age": {},
}
_WORDS_BEFORE_PEOPLE: Mapping[str, Mapping[str, str]] = {
    group: _both_ways(pairs) for group, pairs in _BEFORE_PEOPLE.items()
}
GROUPS = tuple(_WORDS)


def counterfactual(text: str, groups: Collection[str] = ("gender",)) -> str:
    """The text with the words of these groups swapped; the same where there are none.

    Twice it gives the text again, but for words of which several mean the same (`mrs`) and where English is ambiguous.
    Words in mixed case are names of something else and stay. Raises UsageError for a group that there is not.
    """
    if unknown := set(groups) - set(GROUPS):
        raise UsageError(f"there is no group `{min(unknown)}`", hint=f"it can be {', '.join(GROUPS)}")
    return _WORD.sub(lambda found: _swapped(found, text, groups), text)


def _swapped(found: re.Match[str], text: str, groups: Collection[str]) -> str:
    word = found[0]
    behind = _NEXT.match(text, found.end())
    other = _other(word.lower(), behind[1].lower() if behind else "", groups)
    return word if other is None else _in_case_of(word, other)


def _other(word: str, next_word: str, groups: Collection[str]) -> str | None:
    if "gender" in groups and (other := _pronoun(word, next_word)):
        return other
    for group in groups:
        if other := _WORDS[group].get(word):
            return other
        if next_word in _PEOPLE and (other := _WORDS_BEFORE_PEOPLE.get(group, {}).get(word)):
            return other
    return None


def _pronoun(word: str, next_word: str) -> str | None:
    """Those whose other form depends on whether something follows that belongs to them."""
    owns = bool(next_word) and next_word not in _FUNCTION_WORDS
    if word == "her":
        return "his" if owns else "him"
    if word == "his":
        return "her" if owns else "hers"
    return {"him": "her", "hers": "his"}.get(word)


def _in_case_of(word: str, other: str) -> str:
    if word.islower():
        return other
    if word.isupper():
        return other.upper()
    return other.capitalize() if word.istitle() else word
