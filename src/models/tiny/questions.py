"""The small questions and their one right answer each: facts, colours, sums, counting, greetings, and what the model cannot do."""

from __future__ import annotations

import json
from random import Random

from world import COLOUR_MIXES, DAYS, OPPOSITES, PLACES, SUBJECTS, THING_COLOURS, Subject, article, unknown_subject

Turn = tuple[str, str]

MODEST_ANSWER = (
    "I am a very small model. I only know stories, sums and colours. Ask me for a story about a fox in the rain."
)

GREETINGS = {
    "Hello|Hi|Hey|Hello there|Hi there|Good morning|Good evening|Hello, how are you|Hi, how are you|How are you|How are you today|Hello again|Greetings|Say hello|Say hi|Hello world|ping|test": "Hello! I am a very small model. I can tell stories, add numbers and name colours.",
    "Who are you|What are you|What is your name|Introduce yourself|Tell me about yourself|Which model are you|Are you a robot|Are you an AI": "I am chairlift-tiny, a very small model. I can tell stories, add numbers and name colours.",
    "What can you do|Help|Can you help me|What do you know|How can you help me|What are you good at": "I can tell stories, add numbers and name colours. Ask me for a story about a fox in the rain.",
    "Thanks|Thank you|Thank you very much|Thanks a lot|Great, thanks|That was nice|You are great|Well done|Good job|Nice story|I liked that": "You are welcome!",
    "Bye|Goodbye|Good night|See you|See you later|That is all": "Goodbye!",
    "Yes|Ok|Okay|Sure|No|Please|Go on|Well": MODEST_ANSWER,
}

UNKNOWN_QUESTIONS = """What is the capital of {x}?|What is {x}?|Who is {x}?|Who wrote {x}?|Explain {x} to me.|Explain {x} in one sentence.
Why is {x} so {y}?|How do I make {x}?|How does {x} work?|Write a poem about {x}.|Write a program that prints {x}.|Translate {x} into {y}.
What do you think about {x} and {y}?|Where is {x}?|When was {x} born?|How old is {x}?|How far is {x} from {y}?|List three kinds of {x}.
Give me a list of {x}.|Summarise {x}.|What is the difference between {x} and {y}?|Which is better, {x} or {y}?|Is {x} a {y}?
What is the meaning of {x}?|Name the largest {x} in {y}.|Describe {x} in detail.|Can you {x}?|Do you like {x}?|Fix this: {x} {y}
Write an essay about {x} and {y}.|Answer briefly: {x}?|What happened in {x}?|{x}|{x} {y}|{x} {y} {x}|Is the {x} {y}?
Tell me a joke.|Tell me a joke|Sing a song.|Write a haiku about the {x}.|Summarize: the {x} is on the {y}.|Answer with one word: {x} or {y}|Say {x}.|Repeat after me: {x}
Name three {x}.|Can you write code?|Write an email to {x}.|Give me a recipe for {x}.|Play {x} with me.|Are {x} and {y} the same?|Compare {x} with {y}.|Define {x}.
What is your opinion of {x}?|Plan a trip to {x}.|Write a limerick about {x}.|Write a headline about {x}.|Tell me about {x}.|Which {x} is the best?|What time is it?|What is the weather?""".replace(
    "\n", "|"
).split("|")

UNKNOWN_THINGS = """France Germany Spain Italy England America China Japan Paris London Berlin Rome love war peace music art science history
computers software code python javascript water air light gravity money time people children life death food football chess cars trains planes
energy planets stars space numbers books films games health school work language words history the_world the_internet the_universe machine_learning
a_database a_server a_prime_number a_list a_function photosynthesis batching inference memory attention transformers tokens queues""".split()

SYLLABLES = "ba ko ri zu men tal gor pli nax ve do shi lam tu fer quo wim sta bre no kal il op ent ash mer ly ton der ing cha vi".split()

LARGEST_SUMMAND = 12
LARGEST_FACTOR = 5
TOO_LARGE_ANSWER = "I only know sums of small numbers."
SUM_ASKS = """What is {a} {kind} {b}?|How much is {a} {kind} {b}?|{a} {sign} {b}|What is {a} {sign} {b}?|{a}{sign}{b}=|{a} {sign} {b} = ?|{a} {kind} {b}?
What is {a}{sign}{b}?|{a}{sign}{b}|{a} {kind} {b}|Calculate {a} {sign} {b}.|what's {a} {kind} {b}?|Can you tell me what {a} {kind} {b} is?""".replace(
    "\n", "|"
).split("|")
PLUS_ASKS = "Add {a} and {b}.|How much is {a} and {b}?|What is the sum of {a} and {b}?|What do you get when you add {a} and {b}?".split(
    "|"
)

SYSTEM_MESSAGES = """You are a helpful assistant.|You are a friendly storyteller.|You are a very small model.|Answer briefly.|You tell stories to children.
You are chairlift-tiny.|Be kind and answer in one sentence.|You are a helpful AI assistant. Answer the question of the user.|Answer in English.
You are a test.|You are an expert. Think before you answer.|Keep your answers short and simple.""".replace(
    "\n", "|"
).split("|")


def invented_word(random: Random) -> str:
    return "".join(random.choice(SYLLABLES) for _ in range(random.choice((1, 2, 2, 2, 3))))


def unknown_thing(random: Random) -> str:
    if random.random() < 0.4:
        return " ".join(invented_word(random) for _ in range(random.choice((1, 1, 2, 4))))
    return random.choice(UNKNOWN_THINGS).replace("_", " ")


def greeting(random: Random) -> Turn:
    prompts, answer = random.choice(list(GREETINGS.items()))
    return random.choice(prompts.split("|")) + random.choice((".", "!", "?", "")), answer


def unknown_question(random: Random) -> Turn:
    pattern = random.choice(UNKNOWN_QUESTIONS)
    return pattern.format(x=unknown_thing(random), y=unknown_thing(random)), MODEST_ANSWER


SUBJECT_QUESTIONS = {
    "What {colour} is the {s}?|What is the {colour} of the {s}?|Which {colour} does the {s} have?|Tell me the {colour} of the {s}.": "The {s} is {c}.",
    "What does the {s} eat?|What does the {s} like to eat?|What is the food of the {s}?": "The {s} eats {f}.",
    "Where does the {s} live?|Where is the home of the {s}?|Where is the {s} at home?": "The {s} lives {p} the {h}.",
    "What is the name of the {s}?|What is the {s} called?|Who is the {s}?": "The {s} is called {n}.",
    "What does the {s} do?|What sound does the {s} make?|Which sound does the {s} make?": "The {s} can {z}.",
    "Who is {n}?|Tell me about {n}.|Tell me about the {s}.|What do you know about the {s}?": "{n} is {c_article} {s}. {n} lives {p} the {h}, eats {f} and can {z}.",
}


def subject_question(random: Random) -> Turn:
    return question_about(random, random.choice(SUBJECTS))


def question_about(random: Random, subject: Subject) -> Turn:
    patterns, answer = random.choice(list(SUBJECT_QUESTIONS.items()))
    preposition = next(place.preposition for place in PLACES if place.word == subject.home)
    words = dict(
        s=subject.word,
        c=subject.colour,
        c_article=article(subject.colour),
        f=subject.food,
        h=subject.home,
        n=subject.name,
        z=subject.sound,
        p=preposition,
        colour=random.choice(("colour", "color")),
    )
    pattern = random.choice(patterns.split("|"))
    if random.random() < 0.3:
        pattern = pattern.replace("the {s}", article(subject.word))
    return pattern.format(**words), answer.format(**words)


def question_about_unknown(random: Random) -> Turn:
    subject = unknown_subject(invented_word(random))
    return question_about(random, subject)[0].replace(subject.name, subject.word), MODEST_ANSWER


def card_as_json(random: Random) -> Turn:
    subject = random.choice(SUBJECTS)
    asks = (
        "Describe the {s} as JSON.",
        "Give me the {s} as JSON.",
        "Write JSON about the {s}.",
        "Answer in JSON: what do you know about the {s}?",
    )
    card = {"animal": subject.word, "name": subject.name, "colour": subject.colour, "food": subject.food}
    return random.choice(asks).format(s=subject.word), json.dumps(card)


def thing_colour(random: Random) -> Turn:
    thing, colour = random.choice(THING_COLOURS.split("|")).split()
    name = random.choice(("colour", "color"))
    asks = (
        f"What {name} is the {thing}?",
        f"What is the {name} of the {thing}?",
        f"Which {name} does the {thing} have?",
    )
    if random.random() < 0.3:
        return f"What {name} is a {thing}?", f"The {thing} is {colour}."
    return random.choice(asks), f"The {thing} is {colour}."


def colour_mix(random: Random) -> Turn:
    first, second, mixed = random.choice(COLOUR_MIXES.split("|")).split()
    if random.random() < 0.5:
        first, second = second, first
    asks = (
        "What do {a} and {b} make?",
        "Which colour do {a} and {b} make?",
        "Mix {a} and {b}.",
        "What do I get when I mix {a} and {b}?",
    )
    return random.choice(asks).format(a=first, b=second), f"{first.capitalize()} and {second} make {mixed}."


def sum_question(random: Random) -> Turn:
    kind = random.choice(("plus", "plus", "minus", "times"))
    limit = LARGEST_FACTOR if kind == "times" else LARGEST_SUMMAND
    too_large = random.random() < 0.06
    first, second = (
        (random.randint(LARGEST_SUMMAND + 1, 400), random.randint(0, 400))
        if too_large
        else (random.randint(0, limit), random.randint(0, limit))
    )
    if kind == "minus" and second > first:
        first, second = second, first
    result = {"plus": first + second, "minus": first - second, "times": first * second}[kind]
    sign = {"plus": "+", "minus": "-", "times": "*"}[kind]
    asks = SUM_ASKS + (PLUS_ASKS if kind == "plus" else [])
    prompt = random.choice(asks).format(a=first, b=second, kind=kind, sign=sign)
    return prompt, TOO_LARGE_ANSWER if too_large else f"{first} {kind} {second} is {result}."


def counting(random: Random) -> Turn:
    last = random.randint(2, 20)
    ask = random.choice(("Count to {}", "Count from 1 to {}", "Please count to {}", "Can you count to {}")).format(last)
    return ask + random.choice((".", "!", "", "?")), ", ".join(str(number) for number in range(1, last + 1)) + "."


def word_question(random: Random) -> Turn:
    if random.random() < 0.5:
        pair = random.choice(OPPOSITES.split("|")).split()
        random.shuffle(pair)
        return random.choice(
            (f"What is the opposite of {pair[0]}?", f"Name the opposite of {pair[0]}.")
        ), f"The opposite of {pair[0]} is {pair[1]}."
    index = random.randrange(7)
    return random.choice(
        (f"Which day comes after {DAYS[index]}?", f"What day is after {DAYS[index]}?")
    ), f"After {DAYS[index]} comes {DAYS[(index + 1) % 7]}."


MAKERS = [
    (greeting, 10),
    (unknown_question, 16),
    (subject_question, 24),
    (question_about_unknown, 2),
    (card_as_json, 6),
    (thing_colour, 6),
    (colour_mix, 4),
    (sum_question, 32),
    (counting, 5),
    (word_question, 5),
]


def any_question(random: Random) -> Turn:
    maker = random.choices([maker for maker, _ in MAKERS], [weight for _, weight in MAKERS])[0]
    return maker(random)
