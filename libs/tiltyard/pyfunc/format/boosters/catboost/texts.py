"""The part of a CatBoost file by which texts become numbers: tokenizers, dictionaries, and calcers of tokens.

Source: catboost/private/libs/text_features, library/cpp/text_processing of CatBoost 1.2.10.
"""

import numpy as np

from tiltyard.pyfunc.format.boosters.catboost.byte_stream import ByteStream
from tiltyard.pyfunc.format.boosters.catboost.collections import (
    Computed,
    astray,
    each_once,
    guids,
    lists,
    read_calcer,
    read_part,
)
from tiltyard.pyfunc.format.boosters.catboost.flatbuffer import Bytes

_TOKENIZER, _DICTIONARY, _CALCER, _END = range(4)
_END_NAME = b"___ILLEGAL_GUID\0"
_BAG_OF_WORDS, _BAYES, _BM25 = range(3)
_KINDS = {_BAG_OF_WORDS: 3, _BAYES: 2, _BM25: 1}
_GUID = 16
_NO_HASH = 0xFFFFFFFFFFFFFFFF
# What CatBoost takes as the length of a group of words; of letters, and for gaps in groups, there is no bound.
_MAX_WORDS = 5
_MAX_LETTERS = 1 << 16
_MAX_CLASSES = 1 << 16


def read_texts(stream: ByteStream) -> Computed:
    """What the part computes, if all that its numbers point to exists.

    Raises:
        InvalidParameterValue: some does not.
    """
    stream.expect(b"text_process_v2")
    header = stream.table()
    tokenizers, dictionaries, calcers = names = [guids(header, field) for field in range(3)]
    if len(tokenizers) != len(dictionaries) or len(set().union(*names)) < sum(map(len, names)):
        raise astray("a name")
    per_feature = lists(header, 3, len(tokenizers))
    per_tokens = lists(header, 4, len(calcers))
    each_once(per_tokens)
    _check_first(per_feature, per_tokens)

    outputs: dict[bytes, int] = {}
    read = 0
    while stream:
        kind, name = read_part(stream, [*names, [_END_NAME]])
        if kind == _END:
            break
        read += 1
        if kind == _TOKENIZER:
            _read_tokenizer(stream)
        elif kind == _DICTIONARY:
            _read_dictionary(stream)
        else:
            outputs[name] = _read_calcer(stream)
    if read != sum(map(len, names)):
        raise astray("a name")
    return Computed(len(per_feature), outputs)


def _check_first(per_feature: list[list[int]], per_tokens: list[list[int]]) -> None:
    """Each feature has as many lists of calcers as tokenizers, and the outputs are counted from its first calcer."""
    if sum(map(len, per_feature)) != len(per_tokens):
        raise astray("a list")
    start = 0
    for tokenizers in per_feature:
        own = per_tokens[start : start + len(tokenizers)]
        if any(own) and not own[0]:
            raise astray("a list")
        start += len(tokenizers)


def _read_tokenizer(stream: ByteStream) -> None:
    stream.expect(b"TokenizerV1")
    stream.take(_GUID)
    flags = [stream.number(np.uint8) for _ in range(2)]
    policies = [stream.number(np.uint32)]
    stream.array(np.uint8)
    policies.append(stream.number(np.uint32))
    delimiter = stream.array(np.uint8)
    flags += [stream.number(np.uint8) for _ in range(2)]
    stream.array(np.uint32)
    policies.append(stream.number(np.uint32))
    stream.array(np.uint32)
    if max(flags) > 1 or max(policies) > 2 or not len(delimiter):
        raise astray("an option")


def _read_dictionary(stream: ByteStream) -> None:
    stream.expect(b"DictionaryV1")
    stream.take(_GUID)
    stream.expect(b"MMapDictionary")
    stream.number(np.uint64)
    dictionary = stream.table()
    dictionary.look(np.uint32, 0, 2, 3)
    options = dictionary.table(1)
    options.look(np.uint32, 3)
    letters, words, gap = (
        options.number(0, np.int8),
        options.number(1, np.uint32, 1),
        options.number(2, np.uint32),
    )
    ends = options.number(4, np.int8), options.number(5, np.int8)
    if not 0 <= min(letters, *ends) <= max(letters, *ends) <= 1 or gap > _MAX_LETTERS:
        raise astray("an option")
    if not 1 <= words <= (_MAX_LETTERS if letters else _MAX_WORDS):
        raise astray("an option")
    for _ in range(1 if letters or words == 1 else 2):
        size = stream.number(np.uint64)
        stream.number(np.uint64)
        _check_hashes(stream.take(size), 16)


def _check_hashes(table: Bytes, size: int) -> None:
    """Whoever looks for a hash goes on from one to the next until it comes to an empty one."""
    count = len(table) // size
    if len(table) % size or not count or count & (count - 1):
        raise astray("a hash")
    if (np.ascontiguousarray(table.reshape(count, size)[:, :8]).view(np.uint64) != _NO_HASH).all():
        raise astray("a hash")


def _read_calcer(stream: ByteStream) -> int:
    kind, calcer, used = read_calcer(stream, b"FeatureCalcerV1", _KINDS)
    if kind == _BAG_OF_WORDS:
        calcer.look(np.uint32, 0)
    else:
        calcer.look(np.uint32, 1, 2)
        calcer.look(np.uint32 if kind == _BM25 else np.uint64, 3)
        classes = calcer.number(0, np.uint32)
        counts = [calcer.lengths(5, np.uint64)[0]]
        if kind == _BAYES:
            counts.append(calcer.lengths(4, np.uint32)[0])
        else:
            calcer.look(np.uint64, 4)
        if not 1 <= classes <= min(_MAX_CLASSES, *counts) or (len(used) and used.max() >= classes):
            raise astray("a class")
        if stream.length() != classes:
            raise astray("a class")
        for _ in range(classes):
            _read_frequencies(stream)
    return len(used)


def _read_frequencies(stream: ByteStream) -> None:
    """How often each token came: a table of tokens by hash, with a mask, and with a token that means an empty place."""
    mask = stream.number(np.uint64)
    stream.take(16)
    places = stream.take(stream.length() * 8).view(np.uint32)[::2]
    empty = stream.number(np.uint32)
    stream.take(4)
    if mask != len(places) - 1 or mask & len(places) or not (places == empty).any():
        raise astray("a token")
