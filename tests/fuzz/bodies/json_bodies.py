"""JSON bodies for /invocations in all forms, and for KServe's V1 protocol."""

from random import Random

from tests.fuzz.bodies.json_text import damaged, hostile, name, value
from tests.fuzz.case import Case, one_in
from tests.fuzz.servings import NAMES, path_of_invocations, path_of_v1

_JSON = "application/json"
_MAX_LARGE_BYTES = 60_000_000


def scoring_json(rng: Random) -> Case:
    """A body in one of the forms, or nearly."""
    form = rng.choice(["dataframe_split", "dataframe_records", "instances", "inputs", "split", "columns", "x"])
    parts = [f'"{form}":{_split(rng) if form == "dataframe_split" else _rows(rng)}']
    if one_in(rng, 2):
        parts.append(f'"params":{hostile(rng, ["n", "rate", "flag", "stop", "when"])}')
    if one_in(rng, 8):
        parts += parts
    body = ("{{{}}}".format(",".join(parts))).encode("utf-8", "surrogatepass")
    kind = rng.choice(["application/json"] * 6 + ["application/json; charset=utf-16", "application/json;;;", "", "a/b"])
    headers = {"content-type": kind, "accept": rng.choice(["*/*", "text/csv", "application/json", "x", "a" * 4000])}
    return Case("json", "serving", "POST", path_of_invocations(rng), damaged(rng, body), headers)


def v1_json(rng: Random) -> Case:
    """A body of KServe's V1 protocol."""
    form = rng.choice(["instances", "instances", "inputs", "signature_name", "x"])
    body = (f'{{"{form}":{_rows(rng)}}}').encode("utf-8", "surrogatepass")
    return Case("v1", "serving", "POST", path_of_v1(rng), damaged(rng, body), {"content-type": "application/json"})


def large_json(rng: Random) -> Case:
    """A table of millions of values, near the bound, as rows, as records, as columns or as one list."""
    columns = rng.choice([1, 2, 4, 8, 600, 5000])
    rows = int(rng.choice([1_000_000, 2_500_000, 4_900_000]) / (columns + 1))
    cell = rng.choice(["1", "1.5", "null", '"a"', "NaN", "[]", "{}", "1e400"])
    odd = rng.choice(["", "", cell, "null", '"],["', '"},{"', "[[1],[2]]", "NaN", "9" * 400, "]"])
    names = [*NAMES, *(f"c{at}" for at in range(columns))][:columns]
    order = names[::-1] if one_in(rng, 3) else names
    row = "[{}]".format(",".join([cell] * columns))
    record = "{{{}}}".format(",".join(f'"{each}":{cell}' for each in order))
    rows = min(rows, _MAX_LARGE_BYTES // len(record))
    match rng.randrange(5):
        case 0:
            listed = ",".join(f'"{each}"' for each in order)
            rows_of = ",".join([row] * rows + [odd] * bool(odd))
            text = f'{{"dataframe_split":{{"columns":[{listed}],"data":[{rows_of}]}}}}'
        case 1:
            text = '{{"dataframe_records":[{}]}}'.format(",".join([record] * rows + [odd] * bool(odd)))
        case 2:
            text = '{{"instances":[{}]}}'.format(",".join([row] * rows + [odd] * bool(odd)))
        case 3:
            column = "[{}]".format(",".join([cell] * rows))
            text = '{{"inputs":{{{}}}}}'.format(",".join(f'"{each}":{column}' for each in names))
        case _:
            text = '{{"inputs":[{}]}}'.format(",".join([cell] * (rows * columns) + [odd] * bool(odd)))
    return Case("large json", "serving", "POST", path_of_invocations(rng), text.encode(), {"content-type": _JSON})


def _split(rng: Random) -> str:
    if one_in(rng, 5):
        return hostile(rng, ["columns", "data", "index"])
    if one_in(rng, 6):
        # Very many columns, or very many rows of nothing.
        many = rng.choice([5_000, 150_000])
        columns = ",".join(f'"c{at}"' for at in range(many))
        return '{{"columns":[{}],"data":[[{}]]}}'.format(columns, ",".join(["1"] * many))
    columns = ",".join(name(rng, NAMES) for _ in range(rng.randrange(9)))
    return f'{{"columns":[{columns}],"data":{_rows(rng)}}}'


def _rows(rng: Random) -> str:
    match rng.randrange(6):
        case 0:
            return hostile(rng, NAMES)
        case 1:
            # Rows that share no keys: each is a column of all rows.
            return "[{}]".format(",".join(f'{{"k{at}":1}}' for at in range(rng.choice([50, 3000, 20_000]))))
        case 2:
            long = rng.choice([10, 100_000, 2_000_000])
            return '["{}",{}]'.format("x" * long, ",".join(['"a"'] * rng.choice([10, 5000])))
        case 3:
            return "[{}]".format(
                ",".join("[{}]".format(",".join(value(rng, NAMES, 1) for _ in range(4))) for _ in range(5))
            )
        case _:
            rows = (
                "{{{}}}".format(",".join(f"{name(rng, NAMES)}:{value(rng, NAMES, 2)}" for _ in range(4)))
                for _ in range(5)
            )
            return "[{}]".format(",".join(rows))
