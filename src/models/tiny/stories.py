"""What a story says. A story is a function of its subject, place and weather: nothing in it is left to chance."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from world import (
    PLACE_OF_WORD,
    SUBJECT_OF_WORD,
    WEATHER_OF_WORD,
    Place,
    Subject,
    Weather,
    article,
    friend_of,
    next_place,
    next_weather,
)

HELD_OUT_SHARE = 20

PLOTS = {
    "rain": '{name} had no umbrella and got very wet. Then {friend} the {pal} held up a big leaf. They sat under the leaf and shared some {food}. "Rain is fun with a friend," said {name}.',
    "snow": '{name} rolled a big white ball and made a snowman. {friend} the {pal} gave it a nose. Then they ate warm {food} and looked at their snowman. "He looks like you," said {friend}.',
    "sunshine": '{name} wanted to share a picnic. So {name} packed some {food} and called {friend} the {pal}. They ate and sang until the evening. "What a lovely day," said {friend}.',
    "wind": "{name} had a kite, but the string broke and the kite flew away. {friend} the {pal} ran after it and caught it. {name} gave {friend} some {food} to say thank you. Together they let the kite fly again.",
    "fog": '{name} lost the way and was a little afraid. "Is anybody there?" called {name}. {friend} the {pal} came with a lamp. They walked slowly, hand in hand, and ate {food} when they were safe.',
    "storm": "A tree fell and {name} could not go on. {name} was scared and wanted to hide. Then {friend} the {pal} found a dry place for two. They told each other jokes and ate {food} until it was over.",
    "moonlight": "{name} could not sleep and looked for a star. {friend} the {pal} was awake too. They counted the stars and ate {food} very quietly. One star fell, and both made a wish.",
    "frost": "The ground was slippery, and {name} fell down. {friend} the {pal} laughed and fell down too. Then they slid along like dancers. A cup of tea and some {food} made them warm again.",
    "hail": "{name} put a pot on the head like a hat. It went ping and pong. {friend} the {pal} heard the music and began to dance. After the dance they ate {food} out of the pot.",
    "mist": "{name} saw a strange shape and thought it was a monster. But it was only {friend} the {pal}. They both laughed very loudly. Then the monster and {name} ate {food} together.",
    "thunder": "{name} jumped at every boom. {friend} the {pal} brought a drum and played along. Boom, boom, boom, went the sky and the drum. Soon {name} was not afraid and shared some {food}.",
    "heat": "{name} was thirsty and very tired. {friend} the {pal} knew where cool water was. They drank and splashed and rested in the shade. In the evening they ate {food} and felt fine.",
}

ENDINGS = {
    "rain": "At last the rain stopped",
    "snow": "At last the snow stopped",
    "sunshine": "At last the sunshine faded",
    "wind": "At last the wind became quiet",
    "fog": "At last the fog was gone",
    "storm": "At last the storm was over",
    "moonlight": "At last the moonlight faded",
    "frost": "At last the frost melted",
    "hail": "At last the hail stopped",
    "mist": "At last the mist was gone",
    "thunder": "At last the thunder was over",
    "heat": "At last the heat was over",
}


@dataclass(frozen=True)
class Theme:
    subject: Subject
    place: Place
    weather: Weather


def default_theme(subject: Subject) -> Theme:
    return Theme(subject, PLACE_OF_WORD[subject.home], WEATHER_OF_WORD[subject.weather])


def next_theme(theme: Theme) -> Theme:
    return Theme(friend_of(theme.subject), next_place(theme.place), next_weather(theme.weather))


def is_held_out(theme: Theme) -> bool:
    """One theme in twenty never appears in the training text. A subject's own home and weather are never held out."""
    known = theme.subject.word in SUBJECT_OF_WORD and theme.place.word in PLACE_OF_WORD
    if not known or theme == default_theme(theme.subject):
        return False
    key = f"{theme.subject.word}|{theme.place.word}|{theme.weather.word}"
    return hashlib.sha256(key.encode()).digest()[0] % HELD_OUT_SHARE == 0


def tell(theme: Theme) -> str:
    subject, place, weather = theme.subject, theme.place, theme.weather
    friend = friend_of(subject)
    plot = PLOTS[weather.word].format(name=subject.name, friend=friend.name, pal=friend.word, food=subject.food)
    return (
        f"Once upon a time there was {article(subject.colour)} {subject.word} named {subject.name}. "
        f"One day {subject.name} was {place.preposition} the {place.word} in the {weather.word}. "
        f"{place.look} {place.detail} {weather.look} {plot} "
        f"{ENDINGS[weather.word]}, and the {subject.word} went home from the {place.word}. The end."
    )


def tell_chain(theme: Theme, count: int) -> list[Theme] | None:
    """The themes of `count` stories in a row, or None when one of them is held out."""
    themes = [theme]
    while len(themes) < count:
        themes.append(next_theme(themes[-1]))
    return None if any(is_held_out(each) for each in themes) else themes
