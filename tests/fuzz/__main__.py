"""`python -m tests.fuzz`: attacks both services for some minutes, prints figures, exits with 1 if anything is wrong."""

import random
import sys
import tempfile
from pathlib import Path

import click

from tests.fuzz.session import Session, until_time

MIB = 1024 * 1024
MAX_STALL_S = 0.25
# What is under way at once may take several tables, bodies and answers at their bounds.
MAX_GROWTH_MIB = {"serving": 1536, "registry": 768}
_SHOWN = 40


@click.command()
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=10.0, show_default=True, help="How long.")
@click.option("--seed", type=int, help="What all choices follow from; without it, another one each time.")
@click.option("--case", "cases", type=int, multiple=True, help="Send the case of that number alone. May be repeated.")
def main(minutes: float, seed: int | None, cases: tuple[int, ...]) -> None:
    """Hostile bodies and model directories against a real registry and a real scoring service."""
    seed = random.randrange(1_000_000) if seed is None else seed  # to be repeated, not to be secret
    click.echo(f"seed {seed}")
    with tempfile.TemporaryDirectory(prefix="tiltyard-fuzz-") as folder:
        with Session(Path(folder), seed) as session:
            if cases:
                for number in cases:
                    click.echo(f"{number}: {session.case(number)!r}"[:3000])
                    session.send(number)
            else:
                until = until_time(minutes * 60)
                session.attack(until, loads_until=until)
        sys.exit(1 if _tell(session) else 0)


def _tell(session: Session) -> list[str]:
    """Prints the figures, and gives what is wrong."""
    wrong = list(session.findings)
    by_kind: dict[str, list[str]] = {}
    for (kind, outcome), count in sorted(session.counts.items()):
        by_kind.setdefault(kind, []).append(f"{outcome}: {count}")
    click.echo(f"\n{session.counts.total()} cases")
    for kind, outcomes in by_kind.items():
        click.echo(f"  {kind:32} {', '.join(outcomes)}")
    for name, watch in session.watches.items():
        growth_mib = watch.peak_growth_bytes // MIB
        click.echo(
            f"{name}: largest stall {watch.largest_stall_s * 1e3:.0f} ms (waited {watch.largest_wait_s * 1e3:.0f} ms), "
            f"memory grew by at most {growth_mib} MiB"
        )
        if watch.largest_stall_s > MAX_STALL_S:
            wrong.append(f"{name} stalled for {watch.largest_stall_s:.2f} s at {watch.stalled_at}")
        if growth_mib > MAX_GROWTH_MIB[name]:
            wrong.append(f"{name} grew by {growth_mib} MiB, over {MAX_GROWTH_MIB[name]}")
    for what in wrong[:_SHOWN]:
        click.echo(f"WRONG {what}")
    click.echo(f"{len(wrong)} findings")
    return wrong


if __name__ == "__main__":
    main()
