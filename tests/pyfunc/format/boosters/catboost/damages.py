"""Ways to damage a CatBoost file, each by one number that leads outside, or by a text as long as before."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tiltyard.pyfunc.format.boosters.catboost.flatbuffer import Bytes, Tables, root

FLOATS, ONE_HOTS, CTRS, ESTIMATES = 5, 6, 7, 13


@dataclass
class CatBoostFile:
    """A model's file, with the tables that it consists of; what is written into them is in `data`."""

    data: Bytes
    trees: Tables = field(init=False)
    metadata: Tables = field(init=False)
    parts: Bytes = field(init=False)

    def __post_init__(self) -> None:
        end = 8 + int(self.data[4:8].view(np.uint32)[0])
        core = root(self.data[8:end])
        self.trees = core.table(1)
        self.metadata = core.tables(2)
        self.parts = self.data[end:]


Damage = Callable[[CatBoostFile], None]
Place = Callable[[CatBoostFile], Tables]


def trees(file: CatBoostFile) -> Tables:
    """The trees."""
    return file.trees


def feature(kind: int, index: int, *inner: int) -> Place:
    """One of the features of a kind, or the table in it to which these fields lead."""

    def place(file: CatBoostFile) -> Tables:
        features = file.trees.tables(kind)
        table = Tables(features._data, features._at[index : index + 1])
        for at in inner:
            table = table.table(at)
        return table

    return place


def table(*inner: int) -> Place:
    """The first table of categories, or the table in it to which these fields lead."""

    def place(file: CatBoostFile) -> Tables:
        found = root(file.parts[8:])
        for at in inner:
            found = found.table(at)
        return found

    return place


def calcers(at: int) -> Place:
    """The first list of those in a field of what a part for texts or embeddings begins with."""

    def place(file: CatBoostFile) -> Tables:
        lists = root(file.parts[24:]).tables(at)
        return Tables(lists._data, lists._at[:1])

    return place


def a_calcer_twice(file: CatBoostFile) -> None:
    """The first calcer of the last list in place of the first of all."""
    lists = root(file.parts[24:]).tables(4)
    last = Tables(lists._data, lists._at[-1:]).array(0, np.uint32)
    assert len(lists) > 1
    element(calcers(4), 0, int(last[0]))(file)


def number(place: Place, at: int, value: int, size: int = 4) -> Damage:
    """Another number in the table."""

    def damage(file: CatBoostFile) -> None:
        table = place(file)
        offset = int(table._offsets(at)[0])
        assert offset, "the table does not hold it"
        write(table._data[int(table._at[0]) + offset :], value, size)

    return damage


def element(place: Place, at: int, value: int, size: int = 4) -> Damage:
    """Another number in place of the first in a vector of the table."""

    def damage(file: CatBoostFile) -> None:
        table = place(file)
        write(table._data[int(table._targets(at)[0]) + 4 :], value, size)

    return damage


def shorter(place: Place, at: int, *, by: int = 1) -> Damage:
    """A vector of the table with fewer elements."""

    def damage(file: CatBoostFile) -> None:
        table = place(file)
        length = table._data[int(table._targets(at)[0]) :]
        write(length, int(length[:4].view(np.uint32)[0]) - by, 4)

    return damage


def everywhere(place: Place, at: int, value: int) -> Damage:
    """Another byte for all in a vector of bytes."""
    return lambda file: place(file).array(at, np.uint8).fill(value)


def word(old: bytes, new: bytes) -> Damage:
    """Other bytes, as many, wherever these are."""

    def damage(file: CatBoostFile) -> None:
        whole = file.data.tobytes()
        assert old in whole
        assert len(old) == len(new)
        file.data[:] = np.frombuffer(whole.replace(old, new), np.uint8)

    return damage


def nested(file: CatBoostFile) -> None:
    """Brackets for all of the longest text."""
    starts, lengths = file.metadata._extents(1, 1)
    longest = int(lengths.argmax())
    file.metadata._data[starts[longest] : starts[longest] + lengths[longest]] = ord("[")


def write(places: Bytes, value: int, size: int) -> None:
    """Write a number to the place that these bytes begin with."""
    places[:size] = np.frombuffer((value % (1 << 8 * size)).to_bytes(size, "little"), np.uint8)


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
    "a table without an empty place": ("Borders binary", everywhere(table(), 1, 0)),
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
