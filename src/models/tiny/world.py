"""The facts of the small world that every training text is about. One fact each, so that every question has one right answer."""

from __future__ import annotations

from dataclasses import dataclass

SUBJECT_ROWS = """
fox Finn red berries forest rain yip|owl Olive brown seeds barn moonlight hoot|bear Bruno brown honey mountain frost growl
rabbit Ruby white carrots meadow sunshine squeak|cat Cleo black fish kitchen storm meow|dog Dash brown bones farm snow bark
horse Hugo black hay stable wind neigh|cow Clover white grass farm fog moo|pig Penny pink apples barn heat oink
sheep Sally white clover hill mist bleat|goat Gus grey thistles mountain thunder bleat|duck Daisy yellow bread lake rain quack
goose Greta white corn river wind honk|hen Hattie red corn farm sunshine cluck|mouse Milo grey cheese kitchen moonlight squeak
frog Freddy green flies swamp rain croak|toad Toby brown beetles garden fog croak|lion Leo golden meat desert heat roar
tiger Tara orange meat jungle thunder roar|monkey Max brown bananas jungle sunshine chatter|elephant Ella grey peanuts desert sunshine trumpet
mole Molly black worms garden frost snuffle|wolf Willow grey meat forest snow howl|deer Dora brown leaves valley mist grunt
squirrel Sam red nuts park wind chatter|hedgehog Henry brown apples garden moonlight snuffle|otter Oscar brown fish river hail whistle
beaver Bella brown bark river storm grunt|badger Basil black roots forest fog growl|bat Bobby black moths cave moonlight squeak
parrot Polly green seeds island sunshine squawk|penguin Pablo black fish island snow honk|seal Silas grey fish beach hail bark
whale Wanda blue shrimp harbour storm sing|crab Carl red snails beach sunshine click|turtle Tessa green lettuce beach heat hum
snail Sonny yellow lettuce garden rain hum|bee Betty yellow nectar meadow sunshine buzz|ant Andy black crumbs park heat click
spider Stella black flies castle mist click|crow Colin black corn village wind caw|swan Sophie white reeds lake frost hiss
snake Sid green eggs desert heat hiss|camel Cora golden dates desert wind grunt|donkey Dylan grey hay village mist bray
pony Poppy brown oats stable sunshine neigh|lamb Lily white milk hill snow bleat|kitten Kiki orange milk school rain meow
puppy Pepper white biscuits park hail bark|robot Robin silver batteries city thunder beep|dragon Drake green soup castle storm roar
giant Gordon purple pies mountain thunder roar|wizard Walter purple soup castle moonlight mumble|witch Wendy black pumpkins swamp mist cackle
king Karl golden cakes castle snow shout|queen Quinn golden cherries castle sunshine sing|knight Kevin silver bread village storm shout
pirate Pete red oranges island wind shout|farmer Frank green potatoes farm hail whistle|baker Bonnie white bread market frost sing
sailor Simon blue fish harbour fog whistle|teacher Tilda blue apples school hail talk|girl Grace yellow cherries school snow laugh
boy Ben blue cakes park frost laugh|ghost Gilbert white cheese library fog moan|fairy Flora pink nectar meadow moonlight giggle
princess Pearl pink cherries castle frost giggle|unicorn Una white clover valley sunshine neigh|dinosaur Dino green leaves jungle rain roar
""".strip()

PLACE_ROWS = """
forest|in|The trees were tall and green.|Small birds sang in the branches.
beach|on|The sand was soft and golden.|Little waves rolled over the shells.
garden|in|The flowers stood in long rows.|A wooden gate was open.
village|in|The houses had red roofs.|A bell rang in the old tower.
mountain|on|The path was steep and full of stones.|Far below lay the green land.
river|by|The water ran fast and clear.|An old bridge led to the other side.
lake|by|The water was deep and still.|A small boat lay on the shore.
farm|on|The fields were wide and yellow.|A big wheel turned at the mill.
city|in|The streets were long and busy.|Tall towers shone above the roofs.
park|in|The benches were painted blue.|A round pond lay in the middle.
meadow|in|The grass was high and sweet.|Butterflies danced over the flowers.
cave|in|The walls were cold and dark.|Water dripped from the stones.
island|on|The palm trees bent over the sand.|There was blue sea on every side.
castle|in|The walls were thick and very old.|Flags hung from the towers.
harbour|in|The ships rocked on their ropes.|It smelled of salt and fish.
school|at|The windows were big and bright.|Letters were written on the board.
market|at|The tables were full of fruit.|People called and laughed.
kitchen|in|The pots were shiny and warm.|It smelled of fresh bread.
library|in|The shelves were full of books.|Everyone spoke in a whisper.
valley|in|The hills stood around like friends.|A small stream ran through it.
swamp|in|The mud was deep and brown.|Bubbles came up from below.
jungle|in|The leaves were as big as doors.|Strange fruits hung from the trees.
barn|in|The straw was dry and warm.|A ladder led up to the roof.
desert|in|The sand went on and on.|There was not one tree.
hill|on|The top was round and bare.|One could see very far from there.
stable|in|The doors were made of old wood.|A lamp hung on a nail.
""".strip()

WEATHER_ROWS = """
rain|rainy|it is raining|The rain fell softly and made puddles everywhere.
snow|snowy|it is snowing|The snow covered everything like a white blanket.
sunshine|sunny|the sun is shining|The sunshine was warm and made the air bright.
wind|windy|the wind is blowing|The wind blew hard and pushed the clouds along.
fog|foggy|it is foggy|The fog was so thick that nobody could see far.
storm|stormy|there is a storm|The storm shook everything and the sky was dark.
moonlight|moonlit|the moon is shining|The moonlight lay like silver on the ground.
frost|frosty|it is freezing|The frost drew white stars on everything.
hail|haily|it is hailing|The hail came down like little white marbles.
mist|misty|it is misty|The mist was pale and moved slowly.
thunder|thundery|it is thundering|The thunder rolled like a big drum.
heat|hot|it is very hot|The heat made everyone slow and sleepy.
""".strip()

THING_COLOURS = """sky blue|grass green|sun yellow|moon white|sea blue|banana yellow|cherry red|tomato red|lemon yellow|carrot orange
plum purple|coal black|milk white|chocolate brown|cloud white|leaf green|rose red|fire orange|night black|stone grey""".replace(
    "\n", "|"
)

COLOUR_MIXES = "red yellow orange|blue yellow green|red blue purple|black white grey|red white pink|red green brown"

OPPOSITES = "big small|hot cold|up down|day night|fast slow|happy sad|old young|open closed|wet dry|long short|light dark|good bad"

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()


@dataclass(frozen=True)
class Subject:
    word: str
    name: str
    colour: str
    food: str
    home: str
    weather: str
    sound: str


@dataclass(frozen=True)
class Place:
    word: str
    preposition: str
    look: str
    detail: str


@dataclass(frozen=True)
class Weather:
    word: str
    adjective: str
    clause: str
    look: str


def cells(table: str) -> list[list[str]]:
    return [row.split("|") for row in table.splitlines()]


SUBJECTS = [Subject(*entry.split()) for entry in SUBJECT_ROWS.replace("\n", "|").split("|")]
PLACES = [Place(*row) for row in cells(PLACE_ROWS)]
WEATHERS = [Weather(*row) for row in cells(WEATHER_ROWS)]
SUBJECT_OF_WORD = {subject.word: subject for subject in SUBJECTS}
PLACE_OF_WORD = {place.word: place for place in PLACES}
WEATHER_OF_WORD = {weather.word: weather for weather in WEATHERS}


def unknown_subject(word: str) -> Subject:
    return Subject(word, "Pip", "little", "bread", "forest", "sunshine", "hum")


def unknown_place(word: str) -> Place:
    return Place(word, "in", "It was a strange and quiet place.", "Nobody knew the way.")


def friend_of(subject: Subject) -> Subject:
    if subject.word not in SUBJECT_OF_WORD:
        return SUBJECTS[1]
    return SUBJECTS[(SUBJECTS.index(subject) + 5) % len(SUBJECTS)]


def next_place(place: Place) -> Place:
    if place.word not in PLACE_OF_WORD:
        return PLACES[0]
    return PLACES[(PLACES.index(place) + 1) % len(PLACES)]


def next_weather(weather: Weather) -> Weather:
    return WEATHERS[(WEATHERS.index(weather) + 1) % len(WEATHERS)]


def article(word: str) -> str:
    return ("an " if word[0] in "aeiou" and word != "unicorn" else "a ") + word
