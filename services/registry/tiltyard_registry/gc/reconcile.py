"""The store held against the database: files that no row knows, and rows whose file is gone."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import and_, delete, select

from tiltyard.errors import ResourceDoesNotExist
from tiltyard.storage import Entry, ManifestFile
from tiltyard_registry.gc.layout import homes_of, known_owners, owner_of
from tiltyard_registry.gc.purge import Purge
from tiltyard_registry.gc.report import MAX_NAMES, Amount, Report
from tiltyard_registry.store.artifacts.artifact_root import ArtifactRoot
from tiltyard_registry.store.artifacts.listings import in_pages
from tiltyard_registry.store.artifacts.paths import directories_above
from tiltyard_registry.store.artifacts.pins import split_pinned
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.tables.artifacts import files, manifests
from tiltyard_registry.tables.models import model_versions, registered_models

PAGE = 1000


class Reconciliation:
    """One walk through the store, and one through the rows that speak of files."""

    def __init__(self, database: Database, artifacts: ArtifactRoot, report: Report, purge: Purge) -> None:
        self._database = database
        self._artifacts = artifacts
        self._report = report
        self._purge = purge
        # Hashes of paths, for a million of them fit in memory where the paths would not.
        self._seen: set[int] = set()
        self._orphans: dict[str, Amount] = {}
        self._known_files = 0

    async def run(self, before_ms: int, *, delete_orphans: bool) -> None:
        """Counts and names what does not fit together. Orphans are files written before `before_ms`.

        They are removed when that is wanted and the database knows some of the files: one that knows none is not
        the database of this store.
        """
        homes = await homes_of(self._database, self._artifacts)
        async for page in in_pages(self._artifacts.store.list("", recursive=True), PAGE):
            self._seen.update(hash(entry.path) for entry in page)
            await self._sort(page, homes, before_ms)
        self._report.orphan_places = sorted(self._orphans)[:MAX_NAMES]
        self._report.orphans_removed = delete_orphans and self._known_files > 0
        for place, amount in self._orphans.items():
            if not self._report.orphans_removed or self._report.dry_run:
                self._report.orphans.files += amount.files
                self._report.orphans.size_bytes += amount.size_bytes
            else:
                await self._purge.tree(place, self._report.orphans)
        await self._forget_hashes()
        await self._find_missing()

    async def _sort(self, page: Sequence[Entry], homes: set[str], before_ms: int) -> None:
        """Tells known files, orphans and strangers apart."""
        owners = {entry.path: owner for entry in page if (owner := owner_of(entry.path, homes)) is not None}
        async with self._database.read() as session:
            known = await known_owners(session, set(owners.values()))
            lost = [entry for entry in page if entry.path in owners and owners[entry.path] not in known]
            free, _ = await split_pinned(session, lost)
        for entry in free:
            if entry.modified_ms < before_ms:
                self._orphans.setdefault(owners[entry.path].place, Amount()).add(entry.size_bytes)
        strangers = [
            entry
            for entry in page
            if entry.path not in owners and homes.isdisjoint({"", *directories_above([entry.path])})
        ]
        for entry in strangers:
            self._report.unknown.add(entry.size_bytes)
        self._known_files += len(page) - len(free) - len(strangers)

    async def _forget_hashes(self) -> None:
        """Drops remembered hashes of files that are gone; they say nothing any more."""
        last = ""
        while True:
            async with self._database.read() as session:
                page = await session.all(select(files).where(files.c.path > last).order_by(files.c.path).limit(PAGE))
            if not page:
                return
            last = page[-1]["path"]
            gone = [
                row for row in page if hash(row["path"]) not in self._seen and not await self._is_there(row["path"])
            ]
            self._report.forgotten_hashes += len(gone)
            if not self._report.dry_run and gone:
                # A file that came back meanwhile came with another etag.
                same = [and_(files.c.path == row["path"], files.c.etag == row["etag"]) for row in gone]
                async with self._database.write() as session:
                    for condition in same:
                        await session.execute(delete(files).where(condition))

    async def _find_missing(self) -> None:
        """Names the files of registered versions that the store does not have."""
        last = (0, 0)
        key = model_versions.c.registered_model_id, model_versions.c.version
        query = (
            select(*key, model_versions.c.pinned_prefix, registered_models.c.name, manifests.c.files)
            .join_from(model_versions, registered_models)
            .join(manifests, manifests.c.digest == model_versions.c.manifest_digest)
            .where(model_versions.c.pinned_prefix.is_not(None))
            .order_by(*key)
            .limit(100)
        )
        while True:
            newer = (key[0] > last[0]) | ((key[0] == last[0]) & (key[1] > last[1]))
            async with self._database.read() as session:
                page = await session.all(query.where(newer))
            if not page:
                return
            last = (page[-1]["registered_model_id"], page[-1]["version"])
            for row in page:
                for file in msgspec.json.decode(row["files"], type=tuple[ManifestFile, ...]):
                    path = f"{row['pinned_prefix']}/{file.path}"
                    if hash(path) not in self._seen and not await self._is_there(path):
                        self._report.miss(f"{row['name']}/{row['version']}: {file.path}")

    async def _is_there(self, path: str) -> bool:
        """Asked again of what the walk has not seen, for it may have come since."""
        try:
            return not (await self._artifacts.store.head(path)).is_dir
        except ResourceDoesNotExist:
            return False
