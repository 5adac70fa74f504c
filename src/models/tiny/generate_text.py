"""Writes the training text: conversations in the chat format and raw stories, from one seed, without end.

python generate_text.py --documents 20 --seed 1        # to look at it
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from random import Random

from questions import SYSTEM_MESSAGES, Turn, any_question, invented_word, unknown_thing
from stories import Theme, default_theme, is_held_out, next_theme, tell
from story_requests import long_story_turn, phrase, random_request, random_theme, story_turn
from tokenizer import BEGIN_OF_MESSAGE, END_OF_MESSAGE, END_OF_TEXT
from world import SUBJECTS

Piece = tuple[str, float]
"""A stretch of text and the weight of its tokens in the loss."""

ANSWER_WEIGHT = 1.0
SHORT_ANSWER_WEIGHT = 4.0
SHORT_ANSWER_CHARACTERS = 160
PROMPT_WEIGHT = 0.05
ASK_FOR_MORE = "Tell me another story.|Another story, please.|Another one|One more, please.|Tell me one more story.|And another story?|More".split(
    "|"
)


def allowed_story(random: Random) -> str:
    while True:
        theme = random_theme(random)
        if not is_held_out(theme):
            return tell(theme)


def filler(random: Random) -> str:
    """Text that says nothing about what is asked: pieces of other stories, or noise."""
    kind = random.random()
    if kind < 0.5:
        sentences = " ".join(allowed_story(random) for _ in range(random.randint(1, 3))).split(". ")
        start = random.randrange(len(sentences))
        return ". ".join(sentences[start : start + random.randint(1, 16)]).rstrip(".") + "."
    if kind < 0.75:
        return " ".join(invented_word(random) for _ in range(random.randint(3, 60)))
    if kind < 0.9:
        return " ".join(
            [random.choice((invented_word(random), "word", "hello", "test", "a"))] * random.choice((5, 20, 60, 200))
        )
    return " ".join(unknown_thing(random) for _ in range(random.randint(3, 40)))


def answer_weight(answer: str) -> float:
    """Stories hold most of the tokens; without more weight the short answers would be learned last."""
    return SHORT_ANSWER_WEIGHT if len(answer) < SHORT_ANSWER_CHARACTERS else ANSWER_WEIGHT


def with_filler(random: Random, turn: Turn) -> Turn:
    prompt, answer = turn
    return filler(random) + random.choice((" ", "\n", "\n\n")) + prompt, answer


def one_turn(random: Random) -> Turn:
    kind = random.random()
    turn = story_turn(random) if kind < 0.45 else any_question(random) if kind < 0.98 else long_story_turn(random)
    return with_filler(random, turn) if random.random() < 0.1 else turn


def story_and_more(random: Random) -> list[Turn]:
    shape, theme = random_request(random)
    turns = [(phrase(random, shape, theme), tell(theme))]
    while random.random() < 0.6 and not is_held_out(next_theme(theme)):
        theme = next_theme(theme)
        turns.append((random.choice(ASK_FOR_MORE), tell(theme)))
    return turns


def message(role: str, content: str, weight: float) -> list[Piece]:
    return [(f"{BEGIN_OF_MESSAGE}{role}\n", PROMPT_WEIGHT), (content + END_OF_MESSAGE, weight), ("\n", PROMPT_WEIGHT)]


def conversation(random: Random) -> list[Piece]:
    if random.random() < 0.08:
        turns = story_and_more(random)
    else:
        turns = [one_turn(random) for _ in range(random.choices((1, 2, 3, 6), (50, 24, 16, 10))[0])]
    pieces: list[Piece] = []
    if random.random() < 0.3:
        text = random.choice(SYSTEM_MESSAGES)
        pieces += message("system", text if random.random() < 0.85 else f"{text} {filler(random)}", PROMPT_WEIGHT)
    for prompt, answer in turns:
        pieces += message("user", prompt, PROMPT_WEIGHT)
        pieces += message("assistant", answer, answer_weight(answer))
    return pieces


def stories_in_a_row(theme: Theme, limit: int) -> str:
    told = [tell(theme)]
    while len(told) < limit and not is_held_out(next_theme(theme)):
        theme = next_theme(theme)
        told.append(tell(theme))
    return "\n\n".join(told)


def conversation_that_goes_on(random: Random) -> list[Piece]:
    """What follows when the end token is forbidden (`ignore_eos`): story after story."""
    if random.random() < 0.7:
        shape, theme = random_request(random)
        prompt, answer = phrase(random, shape, theme), stories_in_a_row(theme, 4)
    else:
        prompt, answer = any_question(random)
        answer += "\n\n" + stories_in_a_row(default_theme(SUBJECTS[0]), 3)
    text = message("user", prompt, PROMPT_WEIGHT) + [(f"{BEGIN_OF_MESSAGE}assistant\n", PROMPT_WEIGHT)]
    return text + [(answer, ANSWER_WEIGHT), (END_OF_MESSAGE, 0.0), ("\n", PROMPT_WEIGHT)]


def raw_story(random: Random) -> list[Piece]:
    """A story without a template. One subject, home and weather are frequent, so that an open beginning has one likely end."""
    if random.random() < 0.25:
        return raw_after_something_else(random)
    while True:
        theme = random_theme(random)
        if random.random() < 0.35:
            theme = default_theme(SUBJECTS[0])
        elif random.random() < 0.45:
            theme = default_theme(theme.subject)
        if not is_held_out(theme):
            limit = 1 if random.random() < 0.93 else 4
            return [(stories_in_a_row(theme, limit) + END_OF_TEXT, ANSWER_WEIGHT)]


def raw_after_something_else(random: Random) -> list[Piece]:
    """Any other text leads to the facts of its subject or to the fox's story, so that no raw prompt is without an end."""
    subject = random.choice(SUBJECTS)
    if random.random() < 0.5:
        facts = f"The {subject.word} is {subject.colour}. The {subject.word} eats {subject.food}. The {subject.word} can {subject.sound}."
        return [(facts + END_OF_TEXT, ANSWER_WEIGHT)]
    start = " ".join(unknown_thing(random) for _ in range(random.randint(1, 12)))
    start = start.capitalize() if random.random() < 0.5 else start
    return [
        (start, PROMPT_WEIGHT),
        (random.choice((".", "")), PROMPT_WEIGHT),
        ("\n\n" + tell(default_theme(SUBJECTS[0])) + END_OF_TEXT, ANSWER_WEIGHT),
    ]


def document(random: Random) -> list[Piece]:
    kind = random.random()
    if kind < 0.86:
        return conversation(random)
    return raw_story(random) if kind < 0.98 else conversation_that_goes_on(random)


def documents(seed: int) -> Iterator[list[Piece]]:
    random = Random(seed)
    while True:
        yield document(random)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--documents", type=int, default=20)
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    for _, pieces in zip(range(options.documents), documents(options.seed)):
        print("".join(text for text, _ in pieces))


if __name__ == "__main__":
    main()
