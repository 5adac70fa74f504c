"""Writes heldout-prompts.json: story requests whose themes the training text never holds, and prompts for the batch test.

python make_prompts.py --out heldout-prompts.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from random import Random

from questions import any_question
from stories import Theme, default_theme, is_held_out, tell
from story_requests import phrase, story_turn
from world import PLACES, SUBJECTS, WEATHERS

PROMPTS_SEED = 7
FULL_THEMES = 70
THEMES_WITHOUT_PLACE = 30
MIXED_PROMPTS = 100


def held_out_themes(random: Random) -> tuple[list[Theme], list[Theme]]:
    everything = [Theme(subject, place, weather) for subject in SUBJECTS for place in PLACES for weather in WEATHERS]
    held_out = [theme for theme in everything if is_held_out(theme)]
    random.shuffle(held_out)
    at_home = [theme for theme in held_out if theme.place == default_theme(theme.subject).place]
    elsewhere = [theme for theme in held_out if theme not in at_home]
    return elsewhere[:FULL_THEMES], at_home[:THEMES_WITHOUT_PLACE]


def held_out_prompts(random: Random) -> list[dict]:
    full, without_place = held_out_themes(random)
    entries = []
    for shape, theme in [("all", theme) for theme in full] + [("weather", theme) for theme in without_place]:
        entry = {"prompt": phrase(random, shape, theme), "animal": theme.subject.word, "weather": theme.weather.word}
        entry["place"] = theme.place.word
        entry["expected"] = tell(theme)
        entries.append(entry)
    return entries


def batch_prompts(random: Random, held_out: list[dict]) -> list[str]:
    """The held-out prompts and as many others, half stories and half small questions; each text once."""
    prompts = [entry["prompt"] for entry in held_out]
    while len(prompts) < len(held_out) + MIXED_PROMPTS:
        maker = story_turn if random.random() < 0.5 else any_question
        prompt = maker(random)[0]
        if prompt not in prompts:
            prompts.append(prompt)
    return prompts


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path, default=Path("heldout-prompts.json"))
    options = arguments.parse_args()
    random = Random(PROMPTS_SEED)
    held_out = held_out_prompts(random)
    content = {"heldOutStories": held_out, "batchPrompts": batch_prompts(random, held_out)}
    options.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
