"""The rule of grants, against its plain statement in Python: every look-up and every list, for random grants."""

import itertools
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import Table, insert, select

from tests.registry.access.callers import grant
from tests.registry.store_house import House
from tiltyard_registry.rules.access import SEE, Kind, Principal, Privilege
from tiltyard_registry.store import access
from tiltyard_registry.store.sql.session import Session
from tiltyard_registry.store.sql.sqlite import numbered
from tiltyard_registry.tables.access import grants
from tiltyard_registry.tables.experiments import experiments
from tiltyard_registry.tables.models import registered_models
from tiltyard_registry.tables.namespaces import catalogs, schemas
from tiltyard_registry.tables.runs import runs

P, K = Privilege, Kind
CALLER = Principal("caller", id=1, grantees=(1, 2, 3))
ON_MODELS = [P.EXECUTE, P.CREATE_MODEL_VERSION, P.APPLY_TAG, P.SET_ALIAS, P.TRANSITION_STAGE, P.APPROVE]
ABOUT = {
    K.CATALOG: [P.CREATE_SCHEMA, P.MANAGE],
    K.SCHEMA: [P.CREATE_MODEL, P.MANAGE],
    K.MODEL: [*ON_MODELS, P.MANAGE],
    K.EXPERIMENT: [P.READ, P.EDIT, P.MANAGE],
}
GRANTABLE = {
    K.ROOT: [P.CREATE_CATALOG, P.CREATE_EXPERIMENT, P.READ, P.EDIT, P.MANAGE, P.ALL_PRIVILEGES],
    K.CATALOG: [*ON_MODELS, P.USE_CATALOG, P.USE_SCHEMA, P.BROWSE, P.CREATE_SCHEMA, P.CREATE_MODEL, P.MANAGE],
    K.SCHEMA: [*ON_MODELS, P.USE_SCHEMA, P.BROWSE, P.CREATE_MODEL, P.MANAGE],
    K.MODEL: [*ON_MODELS, P.BROWSE, P.MANAGE],
    K.EXPERIMENT: [P.READ, P.EDIT, P.MANAGE],
}
PLACES: list[tuple[Table, access.Place]] = [
    (catalogs, access.CATALOGS),
    (schemas, access.SCHEMAS),
    (registered_models, access.MODELS),
    (experiments, access.EXPERIMENTS),
    (runs, access.RUNS),
]

Held = Mapping[tuple[Kind, int], set[Privilege]]
Path = Sequence[tuple[Kind, int]]


def gives(held: set[Privilege], wanted: Privilege, *, own: bool) -> bool:
    """Whether what was granted on one securable gives a privilege on it (`own`) or on what lies below."""
    if P.OWNER in held and (own or wanted is P.MANAGE):
        return True
    if P.ALL_PRIVILEGES in held and wanted not in {P.MANAGE, P.APPROVE}:
        return True
    stronger = {P.READ: {P.EDIT, P.MANAGE}, P.EDIT: {P.MANAGE}}.get(wanted, set())
    return bool(held & ({wanted} | stronger))


def let_through(held: Held, path: Path) -> bool:
    """Whether the containers on the way may be used: each by its own privilege, or because one manages there."""
    for kind, use in ((K.CATALOG, P.USE_CATALOG), (K.SCHEMA, P.USE_SCHEMA)):
        above = [held.get(step, set()) for step in path[:-1] if step[0] <= kind]
        if any(step[0] == kind for step in path[:-1]) and not any(
            one & {use, P.ALL_PRIVILEGES, P.MANAGE, P.OWNER} for one in above
        ):
            return False
    return True


def may(held: Held, path: Path, wanted: Privilege) -> bool:
    """Whether grants, by securable, let somebody do that to the last of a path that begins at the root."""
    *above, own = path

    def has(privilege: Privilege) -> bool:
        return gives(held.get(own, set()), privilege, own=True) or any(
            gives(held.get(step, set()), privilege, own=False) for step in above
        )

    if wanted == SEE:
        free = has(P.BROWSE) or has(P.MANAGE)
        below = {*GRANTABLE[own[0]], P.ALL_PRIVILEGES, P.OWNER}
        some = held.get(own) or any(held.get(step, set()) & below for step in above)
        return free or bool(some and let_through(held, path))
    return has(wanted) and (wanted in {P.BROWSE, P.MANAGE} or let_through(held, path))


async def furnish(house: House) -> dict[Table, dict[int, Path]]:
    """Two catalogs of two schemas of two models each, four experiments with a run each; the path of every row."""
    root: Path = [(K.ROOT, 0)]
    found: dict[Table, dict[int, Path]] = {table: {} for table, _ in PLACES}
    stamp = {"uuid": "u", "created_at": 0, "updated_at": 0}
    async with house.database.write() as session:
        for one in "ab":
            row = {"name": f"catalog_{one}", **stamp}
            catalog = await session.scalar(insert(catalogs).values(row).returning(catalogs.c.id))
            found[catalogs][catalog] = in_catalog = [*root, (K.CATALOG, catalog)]
            for two in "ab":
                row = {"name": two, "catalog_id": catalog, **stamp}
                schema = await session.scalar(insert(schemas).values(row).returning(schemas.c.id))
                found[schemas][schema] = in_schema = [*in_catalog, (K.SCHEMA, schema)]
                for three in "ab":
                    row = {"name": f"catalog_{one}.{two}.{three}", "schema_id": schema, "uuid": "u"}
                    row |= {"creation_timestamp": 0, "last_updated_timestamp": 0}
                    made = insert(registered_models).values(row).returning(registered_models.c.id)
                    model = await session.scalar(made)
                    found[registered_models][model] = [*in_schema, (K.MODEL, model)]
        for number in range(4):
            row = {"name": f"experiment {number}", "artifact_location": "x", "creation_time": 0, "last_update_time": 0}
            made = insert(experiments).values(row).returning(experiments.c.experiment_id)
            experiment = await session.scalar(made)
            found[experiments][experiment] = [*root, (K.EXPERIMENT, experiment)]
            row = {"run_id": f"run{number}", "experiment_id": experiment, "run_name": "r", "status": "RUNNING"}
            row |= {"start_time": 0, "artifact_uri": "x", "user_id": "", "lifecycle_stage": "active"}
            run = await session.scalar(insert(runs).values(row).returning(runs.c.id))
            found[runs][run] = found[experiments][experiment]
    return found


def some_grants(draw: random.Random, paths: Sequence[Path]) -> dict[tuple[Kind, int], set[Privilege]]:
    """A few grants on anything in `paths` and on what lies above."""
    places = sorted({step for path in paths for step in path})
    held: dict[tuple[Kind, int], set[Privilege]] = {}
    for _ in range(draw.randint(0, 7)):
        place = draw.choice(places if draw.random() < 0.9 else [(K.ROOT, 0)])
        kind = place[0]
        among = [*GRANTABLE[kind], P.ALL_PRIVILEGES, *([P.OWNER] if kind is not K.ROOT else [])]
        held.setdefault(place, set()).add(draw.choice(among))
    return held


@pytest.mark.parametrize("seed", range(4))
async def test_every_question_has_the_answer_of_the_rule(house: House, seed: int) -> None:
    """Lists, look-ups and conditions written as text agree with the rule, for whoever holds whichever grants."""
    rows = await furnish(house)
    draw = random.Random(seed)
    paths = [path for found in rows.values() for path in found.values()]
    for _ in range(15):
        held = some_grants(draw, paths)
        async with house.database.write() as session:
            await session.execute(grants.delete())
        for (kind, id), privileges in held.items():
            for privilege in privileges:
                await grant(house.database, draw.choice(CALLER.grantees), kind, id, privilege)
            # What others hold is nothing to this caller.
            await grant(house.database, 99, kind, id, P.OWNER)
        for table, place in PLACES:
            for wanted in (SEE, *ABOUT[place.kind]):
                await agrees(house, table, place, wanted, held, rows[table])


async def agrees(
    house: House, table: Table, place: access.Place, wanted: Privilege, held: Held, rows: Mapping[int, Path]
) -> None:
    """Each way to ask finds of one table what the rule lets the caller see, or do."""
    (key,) = table.primary_key.columns if len(table.primary_key.columns) == 1 else (table.c.id,)
    expected = {id for id, path in rows.items() if may(held, path, wanted)}
    seen = {id for id, path in rows.items() if may(held, path, SEE)}
    assert expected <= seen, f"what may be done to a securable is granted to who does not see it: {held}"
    async with house.database.read() as session:
        listed = select(key).where(key.in_(rows), *access.visible(CALLER, place, wanted))
        assert {row[0] for row in await session.execute(listed)} == expected, (table.name, wanted, held)
        one = access.held(select(key).where(key.in_(rows)), CALLER, place, wanted)
        for row in await session.all(one):
            id = row[key.name]
            assert bool(row["is_seen"]) == (id in seen), (table.name, id, held)
            assert bool(row.get("is_allowed", row["is_seen"])) == (id in expected), (table.name, id, wanted, held)
        if table in {runs, experiments, registered_models}:
            condition, values = access.visible_sql(CALLER, table, wanted, 1, is_sqlite=session.is_sqlite)
            text = f"SELECT {key.name} FROM {table.name} WHERE true{condition}"
            found = await _asked(session, text, values)
            assert {row[0] for row in found} & set(rows) == expected, (table.name, wanted, held)


async def _asked(session: Session, text: str, values: list[Any]) -> Sequence[Any]:
    if session.is_sqlite:
        return await session.run_sync(lambda connection: connection.exec_driver_sql(text, numbered(*values)).all())
    found: Sequence[Any] = await session.ask(lambda connection: connection.fetch(text, *values))
    return found


def test_administrators_cost_nothing() -> None:
    """No condition, no column and no text is made for who may do everything."""
    everybody = Principal("root", is_admin=True)
    query = select(runs.c.id)
    for wanted in itertools.chain([SEE], P):
        assert access.visible(everybody, access.RUNS, wanted) == ()
        assert access.held(query, everybody, access.RUNS, wanted) is query
        for is_sqlite in (False, True):
            assert access.visible_sql(everybody, runs, wanted, 1, is_sqlite=is_sqlite) == ("", [])
