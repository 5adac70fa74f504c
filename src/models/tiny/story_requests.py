"""The many ways to ask for a story, and the theme each one means."""

from __future__ import annotations

from random import Random

from questions import Turn, invented_word
from stories import Theme, default_theme, is_held_out, tell, tell_chain
from world import PLACES, SUBJECT_OF_WORD, SUBJECTS, WEATHERS, article, unknown_place, unknown_subject

FIXED_ASKS = """Tell me a story about|Tell me a short story about|Write a story about|Write a short story about|Please tell me a story about
Can you tell me a story about|Could you write a short story about|I want a story about|I would like to hear a story about|Make up a story about
Do you know a story about|Let me hear a story about|A story about|Story:|Write a very short story of""".replace(
    "\n", "|"
).split("|")
VERBS = """Tell me|Tell us|Tell|Write|Write me|Please write|Please tell me|Compose|Make up|Invent|Give me|Create|Read me|Share|Generate|Could you tell me|Can you write
Would you tell me|Now tell me|I want|I would like|I'd love|I need|May I have|Let me hear|Do you know|Say|Improvise|In a few sentences, tell me|In one sentence, write""".replace(
    "\n", "|"
).split("|")
NOUNS = "a story|a short story|a little story|a tale|a fairy tale|a bedtime story|a tiny story|a nice story|a funny story|another story|a small tale|something|a text|a paragraph|a few lines".split(
    "|"
)
LINKS = "about|about|about|featuring|with|of|on|starring|where we meet|that has".split("|")

LONG_ASKS = {
    2: "Tell me two stories about|Write two stories about|Give me two stories about|Please tell me two stories about",
    3: "Tell me a long story about|Write a long story about|Tell me three stories about|Write a very long story about|Write three stories about",
}

ENDS = [
    ".",
    ".",
    ".",
    "",
    "",
    "!",
    "?",
    ", please.",
    " please",
    ". Thank you.",
    ". Keep it short.",
    " in a few sentences.",
    " for my children.",
]

WITH_ALL = """{a} {prep} the {p} in the {w}|{a} in the {w} {prep} the {p}|{a} {prep} the {p} on a {adj} day|{a} and the {w} {prep} the {p}
the {s}, the {p} and the {w}|{s}, {p}, {w}|{a} {prep} the {p} when {clause}|a {adj} day {prep} the {p} with {a}|{a} who is {prep} the {p} in the {w}
the {w} and {a} {prep} the {p}|{a}, the {w} and the {p}|a little {s} {prep} the {p} in the {w}|{a} who goes to the {p} in the {w}|the {s} {prep} the {p} in the {w}
{a} that was {prep} the {p} while {clause}|{a} in the {p} in the {w}|{a} at the {p} in the {w}|{a} in the {w} at the {p}|{a} and a {adj} day {prep} the {p}|{a} and the {p} and the {w}""".replace(
    "\n", "|"
).split("|")

WITH_WEATHER = "{a} in the {w}|{a} and the {w}|a little {s} in the {w}|the {s} in the {w}|{a} on a {adj} day|{a} when {clause}|the {w} and {a}|{s}, {w}|two {s}s in the {w}|{a} and a {w}|{w} and {s}|{s} {w}|{a} named {n} in the {w}|{a} during the {w}|{a} who likes the {w}".split(
    "|"
)
WITH_PLACE = "{a} {prep} the {p}|a little {s} {prep} the {p}|the {s} {prep} the {p}|{a} and the {p}|{a} in the {p}|{a} at the {p}|{a} who goes to the {p}|{s}, {p}".split(
    "|"
)
WITH_SUBJECT = "{a}|a little {s}|the {s}|{n} the {s}|a {s} named {n}|{n}|{s}|your {s}|{s}s|an old {s}|a brave {s}|a happy {s}|a small {s}".split(
    "|"
)
NO_SUBJECT = [
    "Tell me a story.",
    "Tell me a story",
    "Write a story.",
    "Please tell me a short story.",
    "A story please",
    "I want a story.",
    "Tell me something.",
    "Once upon a time",
    "Tell me a short story",
    "Write a short story.",
]


def any_ask(random: Random) -> str:
    if random.random() < 0.5:
        return random.choice(FIXED_ASKS)
    return f"{random.choice(VERBS)} {random.choice(NOUNS)} {random.choice(LINKS)}"


def patterns_of(shape: str) -> list[str]:
    return {"all": WITH_ALL, "weather": WITH_WEATHER, "place": WITH_PLACE, "subject": WITH_SUBJECT}[shape]


def words_of(theme: Theme) -> dict[str, str]:
    subject, place, weather = theme.subject, theme.place, theme.weather
    return dict(
        a=article(subject.word),
        s=subject.word,
        n=subject.name,
        p=place.word,
        prep=place.preposition,
        w=weather.word,
        adj=weather.adjective,
        clause=weather.clause,
    )


def complete(shape: str, theme: Theme) -> Theme:
    """What the request leaves unsaid comes from the subject: its home, its weather."""
    usual = default_theme(theme.subject)
    place = theme.place if shape in ("all", "place") else usual.place
    weather = theme.weather if shape in ("all", "weather") else usual.weather
    return Theme(theme.subject, place, weather)


def random_theme(random: Random) -> Theme:
    subject = unknown_subject(invented_word(random)) if random.random() < 0.05 else random.choice(SUBJECTS)
    place = unknown_place(invented_word(random)) if random.random() < 0.03 else random.choice(PLACES)
    return Theme(subject, place, random.choice(WEATHERS))


def random_request(random: Random) -> tuple[str, Theme]:
    """A shape of request and the theme it means; the theme is never a held-out one."""
    while True:
        shape = random.choices(("all", "weather", "place", "subject"), (60, 22, 10, 8))[0]
        theme = complete(shape, random_theme(random))
        if not is_held_out(theme):
            return shape, theme


def phrase(random: Random, shape: str, theme: Theme, ask: str | None = None) -> str:
    known = theme.subject.word in SUBJECT_OF_WORD
    patterns = [pattern for pattern in patterns_of(shape) if known or "{a}" in pattern or "{s}" in pattern]
    about = random.choice(patterns).format(**words_of(theme))
    text = f"{ask or any_ask(random)} {about}{random.choice(ENDS)}"
    return text.lower() if random.random() < 0.08 else text


def story_turn(random: Random) -> Turn:
    if random.random() < 0.03:
        return random.choice(NO_SUBJECT), tell(default_theme(SUBJECTS[0]))
    shape, theme = random_request(random)
    return phrase(random, shape, theme), tell(theme)


def long_story_turn(random: Random) -> Turn:
    count = random.choice(list(LONG_ASKS))
    while True:
        shape, theme = random_request(random)
        themes = tell_chain(theme, count)
        if themes:
            ask = random.choice(LONG_ASKS[count].split("|"))
            return phrase(random, shape, theme, ask), "\n\n".join(
                f"{number}. {tell(each)}" for number, each in enumerate(themes, 1)
            )
