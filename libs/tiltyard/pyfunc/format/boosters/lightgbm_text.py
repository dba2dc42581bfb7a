"""LightGBM's text of a booster, checked before LightGBM reads it.

LightGBM takes for granted that lines end, that each has its `=`, and that every child, feature, leaf and set of
categories that a tree names exists; it reads beyond its memory where they do not, and whether that ends the process
is a matter of luck. Source: the constructor of `Tree` and `GBDT::LoadModelFromString` at v4.7.0.
"""

import contextlib
import itertools
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.format.boosters.tree_nodes import Numbers, are_within, reached_nodes, unsound

_Fields = dict[bytes, bytes]

_TREE = b"\nTree="
_PARAMETERS = re.compile(rb"parameters:\n(?:\[[^:\n]+:[^\n]*\]\n|\n)*end of parameters\n")
_DECODERS: dict[type, msgspec.json.Decoder[list[Any]]] = {
    int: msgspec.json.Decoder(list[int]),
    float: msgspec.json.Decoder(list[float]),
}
# A float that is whole is an integer to the decoder, and not to LightGBM.
_LETTERS = {int: b"0123456789- ", float: b"0123456789-+.eEinftyaINFTYA "}
# The values of a tree: of each inner node, and of each leaf.
_OF_NODES = (b"split_gain", b"internal_value", b"internal_weight", b"internal_count", b"decision_type")
_OF_LEAVES = (b"leaf_weight", b"leaf_count", b"leaf_const")
_CATEGORICAL = 1
# LightGBM reads no more lines of a tree, and numbers of 32 bits.
_MAX_LINES = 22
_LIMIT = 1 << 31


def check_text(text: bytes) -> None:
    """Nothing, if LightGBM reads no more than the text, and its trees lead to what exists.

    Raises:
        InvalidParameterValue: they do not.
    """
    if b"\r" in text and b"\ntree_sizes=" not in text:
        text = text.replace(b"\r\n", b"\n")
    if not text.startswith(b"tree\n"):
        raise _unsound("its first line is not 'tree'")
    if b"\0" in text or b"\r" in text or not text.endswith(b"\n"):
        raise _unsound("its text is cut off, or holds bytes that are no text")
    # The first that it finds, wherever that is.
    parameters = text.find(b"\nparameters:\n")
    if parameters >= 0 and not _PARAMETERS.match(text, parameters + 1):
        raise _unsound("its parameters do not end, or are none")
    starts = _starts(text)
    head = _fields(text[: starts[0]] if starts else text, whole=False)
    _check_head(head, starts)
    _check_trees([_tree(text, start) for start in starts], _number(head, b"max_feature_idx") + 1)


def _starts(text: bytes) -> list[int]:
    """Where the trees begin."""
    found, at = [], text.find(_TREE)
    while at >= 0:
        found.append(at + 1)
        at = text.find(_TREE, at + 1)
    return found


def _check_head(head: _Fields, starts: list[int]) -> None:
    classes, per_round = _number(head, b"num_class"), _number(head, b"num_tree_per_iteration", b"num_class")
    if classes < 1 or per_round != classes:
        raise _unsound("'num_class' and 'num_tree_per_iteration' differ, or are below 1")
    told = [each for each in head.get(b"objective", b"").split() if b"num_class" in each]
    if any(each != b"num_class:%d" % classes for each in told):
        raise _unsound("'num_class' is not that of the objective")
    if _number(head, b"max_feature_idx") < 0:
        raise _unsound("'max_feature_idx' is below 0")
    if b"tree_sizes" in head:
        sizes = _numbers(head[b"tree_sizes"], b"tree_sizes")
        expected = starts[:1] + list(starts[0] + np.cumsum(sizes[:-1])) if starts else []
        if len(sizes) != len(starts) or not are_within(sizes, _LIMIT) or expected != starts:
            raise _unsound("'tree_sizes' are not the sizes of its trees")


def _tree(text: bytes, start: int) -> _Fields:
    end = text.find(b"\n\n", start)
    if end < 0:
        raise _unsound("a tree does not end")
    return _fields(text[text.index(b"\n", start) + 1 : end + 1], whole=True)


def _fields(text: bytes, *, whole: bool) -> _Fields:
    """What the lines say, by their names; with `whole`, all of them have to say something."""
    fields: _Fields = {}
    for line in text.splitlines()[: _MAX_LINES if whole else None]:
        name, equals, value = line.partition(b"=")
        if (whole and (not equals or name in fields)) or (equals and not name):
            raise _unsound("a line has no '=', no name, or one that another has")
        fields[name] = value
    return fields


def _check_trees(trees: list[_Fields], features: int) -> None:
    leaves = np.array([_number(tree, b"num_leaves") for tree in trees], dtype=np.int64)
    sets = np.array([_number(tree, b"num_cat") for tree in trees], dtype=np.int64)
    if not are_within(leaves - 1, _LIMIT) or not are_within(sets, _LIMIT):
        raise _unsound("'num_leaves' or 'num_cat' is out of range")
    _check_values(trees, leaves, (b"leaf_value",), needed=True)
    linear = np.array([tree.get(b"is_linear", b"0") != b"0" for tree in trees], dtype=bool)
    for index in np.flatnonzero(linear).tolist():
        _check_linear(trees[index], features)
    # LightGBM looks no further in other trees of one leaf.
    further = (leaves > 1) | linear
    grown = [trees[index] for index in np.flatnonzero(further).tolist()]
    leaves, sets = leaves[further], sets[further]
    inner = leaves - 1
    _check_values(grown, leaves, _OF_LEAVES)
    _check_values(grown, inner, (b"threshold",), needed=True)
    _check_values(grown, inner, _OF_NODES)
    left, right, splits = (_column(grown, name, inner) for name in (b"left_child", b"right_child", b"split_feature"))
    if not are_within(splits, features):
        raise _unsound("'split_feature' is out of range")
    limits = np.repeat(leaves, inner)
    if any((~each >= limits).any() for each in (left, right)):
        raise _unsound("a child is no leaf of its tree")
    if reached_nodes(np.maximum(left, -1), np.maximum(right, -1), inner) is None:
        raise _unsound("a child is no node of its tree, or leads back")
    decisions = _column(grown, b"decision_type", inner) if any(b"decision_type" in tree for tree in grown) else left * 0
    _check_sets(grown, sets, decisions, inner)


def _check_values(trees: list[_Fields], counts: Numbers, names: Sequence[bytes], *, needed: bool = False) -> None:
    """Of each name every tree has as many numbers as it should, or none at all."""
    for name in names:
        has = [needed or name in tree for tree in trees]
        _column(list(itertools.compress(trees, has)), name, counts[has], float)


def _check_sets(trees: list[_Fields], sets: Numbers, decisions: Numbers, inner: Numbers) -> None:
    """Sets of categories: a node that splits by one names it in place of its threshold."""
    categorical = decisions & _CATEGORICAL != 0
    owners = np.repeat(np.arange(len(trees)), inner)[categorical]
    ends = np.cumsum(inner)
    for each in np.union1d(np.unique(owners), np.flatnonzero(sets)).tolist():
        tree, count = trees[each], int(sets[each])
        bounds = _numbers(tree.get(b"cat_boundaries", b""), b"cat_boundaries") if count else np.zeros(1, dtype=np.int64)
        if len(bounds) != count + 1 or bounds[0] != 0 or (np.diff(bounds) < 0).any():
            raise _unsound("'cat_boundaries' are out of range")
        if count and len(tree.get(b"cat_threshold", b"").split()) != bounds[-1]:
            raise _unsound("'cat_threshold' has not as many values as 'cat_boundaries' says")
        nodes = categorical[ends[each] - inner[each] : ends[each]]
        named = _numbers(tree[b"threshold"], b"threshold", float)[nodes]
        if not ((named > -1) & (named < count)).all():
            raise _unsound("a split names a set of categories that is not there")


def _check_linear(tree: _Fields, features: int) -> None:
    """Linear leaves: how many features each has, which, and their coefficients."""
    leaves = _number(tree, b"num_leaves")
    counts = _numbers(tree.get(b"num_features", b""), b"num_features")
    if counts.size and (len(counts) != leaves or not are_within(counts, _LIMIT)):
        raise _unsound("'num_features' has not as many values as 'num_leaves' says")
    # Between those of two leaves are two spaces.
    used = _numbers(b" ".join(tree.get(b"leaf_features", b"").split()), b"leaf_features")
    coefficients = _numbers(b" ".join(tree.get(b"leaf_coeff", b"").split()), b"leaf_coeff", float)
    if len(used) != counts.sum() or len(coefficients) != counts.sum():
        raise _unsound("'leaf_features' or 'leaf_coeff' has not as many values as 'num_features' says")
    if not are_within(used, features):
        raise _unsound("'leaf_features' is out of range")


def _column(trees: list[_Fields], name: bytes, counts: Numbers, kind: type = int) -> Any:
    """The numbers of that name, of all the trees. Raises: not each tree has as many as it should."""
    texts = [tree.get(name, b"") for tree in trees]
    if [text.count(b" ") + 1 if text else 0 for text in texts] != counts.tolist():
        raise _unsound(f"'{name.decode()}' has not as many values as 'num_leaves' says")
    return _numbers(b" ".join(filter(None, texts)), name, kind)


def _numbers(text: bytes, name: bytes, kind: type = int) -> Any:
    """The numbers in a text, with one space between two. Raises: InvalidParameterValue: some are none, or too large."""
    if text.translate(None, _LETTERS[kind]):
        raise _unsound(f"'{name.decode()}' holds what is no number")
    found: list[Any]
    try:
        # What LightGBM writes is JSON nearly always, and nothing reads that as fast.
        found = _DECODERS[kind].decode(b"[%b]" % text.replace(b" ", b","))
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = []
        if text and kind is float:
            with contextlib.suppress(ValueError):
                found = [float(each) for each in text.split(b" ")]
        if text and not found:
            raise _unsound(f"'{name.decode()}' holds what is no number") from None
    try:
        return np.array(found, dtype=np.int64 if kind is int else np.float64)
    except OverflowError:
        raise _unsound(f"'{name.decode()}' holds a number that is too large") from None


def _number(fields: _Fields, name: bytes, other: bytes = b"") -> int:
    """The number of that name, or of the other's where there is none."""
    text = fields.get(name, fields.get(other, b""))
    if re.fullmatch(rb"-?\d{1,10}", text) is None or int(text) >= _LIMIT:
        raise _unsound(f"'{name.decode()}' is no whole number of 32 bits")
    return int(text)


def _unsound(what: str) -> InvalidParameterValue:
    return unsound("LightGBM", what)
