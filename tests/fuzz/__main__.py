"""`python -m tests.fuzz`: attacks both services for some minutes, prints figures, exits with 1 if anything is wrong."""

import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from tests.fuzz.finding import Finding, told
from tests.fuzz.session import MAX_STALL_S, Session, until_time

MIB = 1024 * 1024
# What is under way at once may take several tables, bodies and answers at their bounds.
MAX_GROWTH_MIB = {"serving": 1536, "registry": 768}
_PARTS = 10
# A run of so many minutes must show that memory stays where it is, give or take what the largest requests differ by.
_PLATEAU_MINUTES = 8
_PLATEAU_TIMES, _PLATEAU_MIB = 1.25, 128


@click.command()
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=10.0, show_default=True, help="How long.")
@click.option("--seed", type=int, help="What all choices follow from; without it, another one each time.")
@click.option("--case", "cases", type=int, multiple=True, help="Send the case of that number alone. May be repeated.")
@click.option("--together", is_flag=True, help="Send the cases at once, and not one after the other.")
def main(minutes: float, seed: int | None, cases: tuple[int, ...], together: bool) -> None:
    """Hostile bodies and model directories against a real registry and a real scoring service."""
    seed = random.randrange(1_000_000) if seed is None else seed  # to be repeated, not to be secret
    click.echo(f"seed {seed}")
    with tempfile.TemporaryDirectory(prefix="tiltyard-fuzz-") as folder:
        with Session(Path(folder), seed) as session:
            if cases:
                for number in cases:
                    click.echo(f"{number}: {session.case(number)!r}"[:3000])
                for group in [cases] if together else [(number,) for number in cases]:
                    session.again_together(group)
            else:
                until = until_time(minutes * 60)
                session.attack(until, loads_until=until)
            stalls = session.find_stalls()
        click.echo(
            f"stalls over {MAX_STALL_S * 1e3:.0f} ms: {stalls.count} among others; {len(stalls.alone_s)} cases "
            f"stall so alone; the largest that came again alone: {stalls.largest_s * 1e3:.0f} ms; "
            f"{len(stalls.unexplained)} came not again alone, of which {stalls.together} did when all that was under "
            "way was sent together"
        )
        # What happens once in a process, like the import of a library, comes not again.
        for line in stalls.unexplained:
            click.echo(f"  {line[:300]}")
        findings = [*session.findings, *_tell(session, minutes)]
        for line in told(findings):
            click.echo(line)
        sys.exit(1 if findings else 0)


def _tell(session: Session, minutes: float) -> list[Finding]:
    """Prints the figures, and gives what is wrong with the memory."""
    by_kind: dict[str, list[str]] = {}
    for (kind, outcome), count in sorted(session.counts.items()):
        by_kind.setdefault(kind, []).append(f"{outcome}: {count}")
    click.echo(f"\n{session.counts.total()} cases")
    for kind, outcomes in by_kind.items():
        click.echo(f"  {kind:32} {', '.join(outcomes)}")
    wrong: list[Finding] = []
    for name, watch in session.watches.items():
        parts = [(least // MIB, most // MIB) for least, most in watch.growth_bytes(_PARTS)]
        kept, grown = [least for least, _ in parts], [most for _, most in parts]
        largest = watch.largest
        waited_s = largest.ended_s - largest.began_s
        click.echo(
            f"{name}: largest stall {largest.stall_s * 1e3:.0f} ms (waited {waited_s * 1e3:.0f} ms), "
            f"memory grew by at most {max(grown, default=0)} MiB "
            f"(by tenths of the time: {grown}, of which stayed {kept})"
        )
        if max(grown, default=0) > MAX_GROWTH_MIB[name]:
            wrong.append(Finding("memory", f"{name} grew by {max(grown)} MiB, over {MAX_GROWTH_MIB[name]}"))
        if minutes >= _PLATEAU_MINUTES and not stays(kept):
            wrong.append(Finding("memory", f"{name} grows and grows: by {kept} MiB at the least"))
    return wrong


def stays(kept: Sequence[int]) -> bool:
    """Whether in the last third it is where it was in the middle third."""
    third = len(kept) // 3
    return not kept or max(kept[-third:]) <= _PLATEAU_TIMES * max(kept[third:-third]) + _PLATEAU_MIB


if __name__ == "__main__":
    main()
