"""Names that the server invents for runs and logged models: adjective, noun, number."""

import secrets

MAX_INVENTED_CHARS = 20


def _words(text: str) -> list[str]:
    return text.split()


_ADJECTIVES = _words(
    "able agile amber ample apt azure balmy bold brave bright brisk calm candid civil clean clear clever cosy "
    "crisp daring deft eager early easy fair fast fine firm fond frank free fresh gentle glad golden good grand "
    "handy happy hardy honest humble jolly keen kind light lively loyal lucid lucky mellow merry mild modest neat "
    "nimble noble patient placid plain polite prime proud quick quiet rapid ready rustic serene sharp shy silent "
    "silver smart smooth snug sober solid sound spry steady still stout sturdy sunny swift tidy tranquil true "
    "upbeat valiant vivid warm wise witty zesty"
)
_NOUNS = _words(
    "anchor arch armor aster badger banner beacon birch bison bloom breeze bridge brook canyon castle cedar charger "
    "cliff clover comet coral crane creek crest dale dawn delta dove dune eagle ember falcon fern field finch fjord "
    "flint forest fox gale gate glade glen grove harbor hare harp hawk heath heron hill ibis iris island ivy jay "
    "joust knight lagoon lance lark ledge linden lion lynx maple marsh meadow mesa moon moor moss oak orchard osprey "
    "otter palm path peak pine plover pond poplar prairie quail quarry quartz rain raven reef ridge river robin rose "
    "sage shield shore sky sparrow spring spruce squire star stone stork stream summit swan thicket tide tower trail "
    "vale valley willow wind wren yard"
)


def invent() -> str:
    """A name such as `swift-heron-417`, of at most 20 characters."""
    while True:
        name = f"{secrets.choice(_ADJECTIVES)}-{secrets.choice(_NOUNS)}-{secrets.randbelow(1000)}"
        if len(name) <= MAX_INVENTED_CHARS:
            return name
