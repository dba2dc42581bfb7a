"""Ways to damage a CatBoost file, each by one number that leads outside, or by a text as long as before."""

from collections.abc import Callable
from typing import NamedTuple

FLOATS, ONE_HOTS, CTRS, ESTIMATES = 5, 6, 7, 13


class Table(NamedTuple):
    """A table of a FlatBuffer, by where in the file it begins."""

    file: bytearray
    at: int

    def field(self, number: int) -> int:
        """Where a field lies that the table holds."""
        layout = self.at - read(self.file, self.at, signed=True)
        offset = read(self.file, layout + 4 + 2 * number, 2)
        assert offset, "the table does not hold it"
        return self.at + offset

    def vector(self, number: int) -> int:
        """Where the length of a vector lies."""
        return followed(self.file, self.field(number))

    def table(self, number: int) -> "Table":
        """A table in it."""
        return Table(self.file, self.vector(number))

    def tables(self, number: int) -> list["Table"]:
        """The tables in a vector."""
        start = self.vector(number)
        places = range(start + 4, start + 4 + 4 * read(self.file, start), 4)
        return [Table(self.file, followed(self.file, place)) for place in places]


Damage = Callable[[bytearray], None]
Place = Callable[[bytearray], Table]


def read(file: bytearray, at: int, size: int = 4, *, signed: bool = False) -> int:
    """A number in the file."""
    return int.from_bytes(file[at : at + size], "little", signed=signed)


def write(file: bytearray, at: int, value: int, size: int = 4) -> None:
    """Another number in the file."""
    file[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, "little")


def followed(file: bytearray, at: int) -> int:
    """Where a distance in the file leads."""
    return at + read(file, at)


def core(file: bytearray) -> Table:
    """The table that the file begins with."""
    return Table(file, followed(file, 8))


def trees(file: bytearray) -> Table:
    """The trees."""
    return core(file).table(1)


def part(file: bytearray) -> int:
    """Where the first part behind the trees begins."""
    return 8 + read(file, 4)


def feature(kind: int, index: int, *inner: int) -> Place:
    """One of the features of a kind, or the table in it to which these fields lead."""
    return lambda file: inside(trees(file).tables(kind)[index], inner)


def table(*inner: int) -> Place:
    """The first table of categories, or the table in it to which these fields lead."""
    return lambda file: inside(Table(file, followed(file, part(file) + 8)), inner)


def inside(found: Table, fields: tuple[int, ...]) -> Table:
    """The table to which these fields lead, one after the other."""
    for number in fields:
        found = found.table(number)
    return found


def lists(number: int) -> Callable[[bytearray], list[Table]]:
    """The lists in a field of what a part for texts or embeddings begins with."""
    return lambda file: Table(file, followed(file, part(file) + 24)).tables(number)


def calcers(number: int) -> Place:
    """The first of these lists."""
    return lambda file: lists(number)(file)[0]


def a_calcer_twice(file: bytearray) -> None:
    """The first calcer of the last list in place of the first of all."""
    found = lists(4)(file)
    assert len(found) > 1
    write(file, found[0].vector(0) + 4, read(file, found[-1].vector(0) + 4))


def number(place: Place, at: int, value: int, size: int = 4) -> Damage:
    """Another number in the table."""
    return lambda file: write(file, place(file).field(at), value, size)


def element(place: Place, at: int, value: int, size: int = 4) -> Damage:
    """Another number in place of the first in a vector of the table."""
    return lambda file: write(file, place(file).vector(at) + 4, value, size)


def shorter(place: Place, at: int, *, by: int = 1) -> Damage:
    """A vector of the table with fewer elements."""

    def damage(file: bytearray) -> None:
        start = place(file).vector(at)
        write(file, start, read(file, start) - by)

    return damage


def everywhere(place: Place, at: int, value: bytes) -> Damage:
    """Another byte for all in a vector of bytes."""

    def damage(file: bytearray) -> None:
        start = place(file).vector(at)
        length = read(file, start)
        file[start + 4 : start + 4 + length] = value * length

    return damage


def word(old: bytes, new: bytes) -> Damage:
    """Other bytes, as many, wherever these are."""

    def damage(file: bytearray) -> None:
        assert old in file
        assert len(old) == len(new)
        file[:] = file.replace(old, new)

    return damage


def nested(file: bytearray) -> None:
    """Brackets for all of the longest text."""
    longest = max(core(file).tables(2), key=lambda text: read(file, text.vector(1)))
    everywhere(lambda _: longest, 1, b"[")(file)


# By what is wrong then: the name of a model, and how its file is damaged.
DAMAGES: dict[str, tuple[str, Damage]] = {
    "another kind of file": ("one tree", word(b"CBM1", b"CBM2")),
    "another version": ("one tree", word(b"Model_v1", b"Model_v2")),
    "no output": ("one tree", number(trees, 0, 0)),
    "outputs by the million": ("one tree", number(trees, 0, 1_000_000)),
    "a split of no feature": ("one tree", element(trees, 1, 99)),
    "a split before the first": ("one tree", element(trees, 1, -1)),
    "a tree of negative depth": ("one tree", element(trees, 2, -1)),
    "a tree too deep": ("one tree", element(trees, 2, 40)),
    "a tree too flat": ("one tree", element(trees, 2, 1)),
    "a tree that starts late": ("one tree", element(trees, 3, 1)),
    "a start missing": ("one tree", shorter(trees, 3)),
    "a leaf missing": ("one tree", shorter(trees, 8)),
    "a weight missing": ("one tree", shorter(trees, 9)),
    "an unknown treatment of nulls": ("nulls Depthwise", number(feature(FLOATS, 0), 5, 7, 1)),
    "a column by the billion": ("ranker", number(feature(FLOATS, 2), 2, 2**30)),
    "a column before the first": ("ranker", number(feature(FLOATS, 2), 2, -5)),
    "a column twice": ("one-hot", number(feature(FLOATS, 2), 2, 3)),
    "columns out of order": ("ranker", number(feature(FLOATS, 1), 2, 3)),
    "an index before the first": ("ranker", number(feature(FLOATS, 2), 1, -1)),
    "a node beyond its tree": ("regressor Depthwise", element(trees, 10, 0xFFFF, 2)),
    "a node missing": ("regressor Depthwise", shorter(trees, 10)),
    "a leaf beyond the last": ("of no tree that splits", element(trees, 11, 99)),
    "a leaf's place missing": ("regressor Lossguide", shorter(trees, 11)),
    "a tree without nodes": ("regressor Lossguide", element(trees, 2, 0)),
    "an output missing": ("multiclass Depthwise", shorter(trees, 8)),
    "a way without features": ("of no tree that splits", element(trees, 10, 1)),
    "a category that is not there": ("one-hot", number(feature(ONE_HOTS, 0), 0, 9)),
    "a combination of what is not there": ("Borders binary", element(feature(CTRS, 0, 0, 0, 0), 0, 9)),
    "a class beyond the last": ("multiclass SymmetricTree", word(b'"class_to_label":[0,1', b'"class_to_label":[0,7')),
    "a name of a class missing": (
        "multiclass SymmetricTree",
        word(b'"class_names":[0,1,2,3]', b'"class_names":[0,1    ]'),
    ),
    "JSON nested too deeply": ("one tree", nested),
    "another combination": ("Borders binary", element(table(0, 0), 0, 9)),
    "another kind": ("Counter binary", number(table(0), 1, 5, 1)),
    "an unknown kind": ("Counter binary", number(feature(CTRS, 0, 0, 0), 1, 9, 1)),
    "a table without an empty place": ("Borders binary", everywhere(table(), 1, b"\0")),
    "a table of three places": ("Borders binary", shorter(table(), 1, by=12)),
    "a row missing": ("Borders binary", shorter(table(), 2, by=8)),
    "classes by the million": ("Buckets multiclass", number(table(), 4, 1_000_000)),
    "classes of no category": ("Buckets multiclass", number(table(), 4, 1)),
    "a tokenizer that is not there": ("texts", element(calcers(3), 0, 99)),
    "a calcer of texts that is not there": ("texts", element(calcers(4), 0, 99)),
    "a calcer twice": ("texts", a_calcer_twice),
    "a dictionary without an empty place": ("texts", word(b"\xff" * 8, b"\0" * 8)),
    "another part": ("texts", word(b"DictionaryV1", b"DictionaryV2")),
    "a number of no calcer": ("texts", number(feature(ESTIMATES, 0), 1, 99)),
    "a number beyond those of its calcer": ("texts", number(feature(ESTIMATES, 0), 2, 99)),
    "a number of no kind": ("embeddings", number(feature(ESTIMATES, 0), 4, 7, 1)),
    "a number of a part that is not there": ("embeddings", number(feature(ESTIMATES, 0), 4, 0, 1)),
    "a calcer of embeddings that is not there": ("embeddings", element(calcers(1), 0, 99)),
}
