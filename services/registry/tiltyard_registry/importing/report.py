"""What came of an import: what both sides hold, and what a person has to know of it."""

from dataclasses import dataclass, field

from tiltyard_registry.importing.copies.rows import Compared

_MOST_NAMES = 20


@dataclass(slots=True)
class Elsewhere:
    """Rows of one noun whose files do not lie below our artifact root, and where some of them lie."""

    noun: str
    count: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """What came of an import, noun by noun. `renamed` are the models that could not keep their names."""

    compared: list[Compared] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    other_workspaces: list[str] = field(default_factory=list)
    elsewhere: list[Elsewhere] = field(default_factory=list)
    old_roots: list[str] = field(default_factory=list)
    """What the server's root seems to have been called when it stored its locations."""

    rehomed: int = 0
    """Experiments whose location was a folder of the server's machine; their new runs are kept in our root."""

    refused_files: dict[str, str] = field(default_factory=dict)
    """Files that can never be copied as they are, by path, and why."""

    failed_files: dict[str, str] = field(default_factory=dict)
    """Files that could not be copied this time."""

    no_files: bool = False
    """The server's artifact root was named, holds no file, and there are runs or models."""

    says_of_files: bool = False
    """Whether a run's tags say that files were logged to it. Of a run that never had one nothing is missing."""

    missing_models: list[str] = field(default_factory=list)
    """Logged models and versions whose files are not below the server's artifact root, which was named."""

    unreachable: list[str] = field(default_factory=list)
    """What was written and is not found through the registry's own doors."""

    versions_with_files: int = 0
    versions_without_files: int = 0

    @property
    def equal(self) -> bool:
        """Whether both sides hold the same of everything, and all of it is found here."""
        return all(compared.equal for compared in self.compared) and not self.unreachable and not self.failed_files

    @property
    def files_missing(self) -> bool:
        """Whether files were left out, are missing, or lie where this registry does not look for them."""
        elsewhere = any(noun.count for noun in self.elsewhere)
        return elsewhere or (self.no_files and self.says_of_files) or bool(self.refused_files or self.missing_models)

    def lines_of_files(self) -> list[str]:
        """What is to be said of files, for a person."""
        told = [
            f"{noun.noun.capitalize()} whose files lie elsewhere, not below the artifact root: {noun.count}, such as "
            + ", ".join(f"'{example}'" for example in noun.examples)
            for noun in self.elsewhere
            if noun.count
        ]
        told += [
            f"The artifact root of the server seems to have been '{root}': import again with --old-root '{root}'."
            for root in self.old_roots
        ]
        if self.rehomed:
            told.append(
                f"Experiments whose location was a folder outside the artifact root: {self.rehomed}. Their new runs "
                "are kept in this registry's root."
            )
        if self.no_files:
            told.append("No file of any run was found: there are none at the server's artifact root (--artifacts).")
        told += _named("Not copied", {**self.refused_files, **self.failed_files})
        told += _named("Files are missing", dict.fromkeys(self.missing_models, "not below the server's artifact root"))
        told += _named("Not found here", dict.fromkeys(self.unreachable, "it was written, and no request finds it"))
        return told


def _named(what: str, reasons: dict[str, str]) -> list[str]:
    shown = [f"{what}: {name}: {reason}" for name, reason in list(reasons.items())[:_MOST_NAMES]]
    more = len(reasons) - len(shown)
    return [*shown, f"{what}: … and {more} more"] if more > 0 else shown
