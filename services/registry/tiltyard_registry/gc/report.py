"""What a collection did, or would do: counts and bytes."""

from datetime import UTC, datetime

from msgspec import Struct, field

MAX_NAMES = 20
"""Of what a person should look at, so many are named; all are counted."""


def _date(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).date().isoformat() if time_ms else "the registry's beginning"


class Amount(Struct):
    """So many files, and the bytes in them."""

    files: int = 0
    size_bytes: int = 0

    def add(self, size_bytes: int) -> None:
        """One file more."""
        self.files += 1
        self.size_bytes += size_bytes

    def __str__(self) -> str:
        return f"{self.files} files, {self.size_bytes} bytes"


class Report(Struct, kw_only=True):
    """The outcome of one collection. With `dry_run` nothing was changed, and 'purged' reads 'would be purged'."""

    dry_run: bool
    runs: int = 0
    logged_models: int = 0
    experiments: int = 0
    purged: Amount = field(default_factory=Amount)
    """Files of what was purged."""

    pinned: Amount = field(default_factory=Amount)
    """Files of what was purged that stay, because registered versions are made of them."""

    foreign: Amount = field(default_factory=Amount)
    """Files in the homes of purged experiments that are not the registry's: never removed."""

    elsewhere: int = 0
    """Runs and logged models whose files lie outside the artifact root: they are left alone."""

    uploads: Amount = field(default_factory=Amount)
    """Leftovers of interrupted uploads that were removed; each upload counts as one file."""

    orphans: Amount = field(default_factory=Amount)
    """Files of runs, logged models and versions that the database does not know."""

    orphan_places: list[str] = field(default_factory=list)
    orphans_removed: bool = False
    unknown: Amount = field(default_factory=Amount)
    """Files that are laid out as nothing of the registry's: never removed."""

    forgotten_hashes: int = 0
    """Remembered hashes of files that are gone, forgotten now."""

    ages_until_ms: int | None = None
    """Ages were counted up to the newest event, which was then; only this machine's clock says that it is later."""

    missing: int = 0
    """Files of registered versions that the store does not have."""

    missing_files: list[str] = field(default_factory=list)

    def miss(self, name: str) -> None:
        """One file of a registered version more that is not there."""
        self.missing += 1
        if len(self.missing_files) < MAX_NAMES:
            self.missing_files.append(name)

    def lines(self) -> list[str]:
        """The report for a person."""
        would = "would be " if self.dry_run else ""
        told = [
            f"Runs {would}purged: {self.runs}",
            f"Logged models {would}purged: {self.logged_models}",
            f"Experiments {would}purged: {self.experiments}",
            f"Their files {would}removed: {self.purged}",
        ]
        if self.pinned.files:
            told.append(f"Their files that stay, for registered versions are made of them: {self.pinned}")
        if self.foreign.files:
            told.append(f"Files beside them that are not the registry's, left alone: {self.foreign}")
        if self.elsewhere:
            told.append(f"Runs and logged models whose files lie elsewhere and stay there: {self.elsewhere}")
        told.append(f"Interrupted uploads {would}removed: {self.uploads.files}, {self.uploads.size_bytes} bytes")
        if self.orphans.files:
            verb = f"{would}removed" if self.orphans_removed else "left; --delete-orphans removes them"
            told.append(f"Files that no row knows ({verb}): {self.orphans}")
            told += [f"  {place}" for place in self.orphan_places]
        if self.unknown.files:
            told.append(f"Files under the artifact root that are not the registry's, left alone: {self.unknown}")
        if self.forgotten_hashes:
            told.append(f"Hashes of files that are gone, {would}forgotten: {self.forgotten_hashes}")
        if self.ages_until_ms is not None:
            told.append(
                f"Ages were counted up to {_date(self.ages_until_ms)}: no newer event shows that the clock is right. "
                "The next collection counts up to now."
            )
        if self.missing:
            told.append(f"MISSING files of registered versions: {self.missing}")
            told += [f"  {name}" for name in self.missing_files]
        return told
