"""Names and identifiers for things nobody named."""

from __future__ import annotations

import os

from estiva.errors import Invalid

ADJECTIVES = """
able amber ample azure balanced bold brave bright brisk busy calm candid careful cheerful clear clever coastal crisp
curious daring deft diligent eager early earnest easy fair fast fearless fine firm fond frank free fresh gentle glad
golden graceful grand happy hardy hasty hearty honest humble jolly jovial keen kind lively loyal lucid lucky merry
mighty mild modest neat nimble noble patient peaceful placid playful polite proud quick quiet rapid ready robust
serene sharp silent silver sincere smooth snug sober solid speedy spirited steady stoic strong sturdy subtle sunny
swift tender tidy tranquil trusty upbeat vivid warm wise witty zealous zesty
"""
SURNAMES = """
albuquerque amundsen anning babbage banneker barbosa barents baret bartholdi bellingshausen bering blackwell bohr
bougainville bowditch brunel cabot cabral cartier champlain cook cousteau curie darwin davis diaz drake earhart elcano
eratosthenes ericson euler faraday flinders franklin frobisher gama gauss goddard goodall halley hamilton harrison
henson herschel heyerdahl hopper hudson humboldt hypatia ibnbattuta johnson kepler kirch knuth lamarr laperouse
lovelace magellan maury mawson mendel mercator meitner mitchell nansen nautilus newton nightingale noether ohm
orellana pascal peary perry planck ptolemy pytheas raleigh ross sarmento scoresby scott shackleton slocum somerville
tasman tereshkova tesla torres turing vancouver vespucci volta watt weddell wegener wren zarco zheng zuse
"""
_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_OTHERS = _FIRST | frozenset("_.-")


def random_id() -> str:
    """64 hexadecimal digits that nobody else has."""
    return os.urandom(32).hex()


def random_name() -> str:
    """``adjective_surname``; may be taken already."""
    adjectives, surnames = ADJECTIVES.split(), SURNAMES.split()
    number = int.from_bytes(os.urandom(8), "little")
    return f"{adjectives[number % len(adjectives)]}_{surnames[number // 997 % len(surnames)]}"


def check_name(name: str) -> str:
    """*name*, if a container may be called so; raises Invalid."""
    if not name or name[0] not in _FIRST or set(name) - _OTHERS:
        raise Invalid(f"container name {name!r}: not valid", "use letters, digits, _ . and -")
    return name
