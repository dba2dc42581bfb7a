"""What happened, as it happens and as a table at the end."""

import time
from dataclasses import dataclass, field

import click


@dataclass
class Story:
    """What happened, printed as it happens and as a table at the end."""

    started: float = field(default_factory=time.perf_counter)
    lines: list[tuple[float, str, str]] = field(default_factory=list)

    def note(self, step: str, text: str) -> None:
        """Keeps a line for the table."""
        self.lines.append((time.perf_counter() - self.started, step, text))

    def tell(self, step: str, text: str) -> None:
        """Prints a line and keeps it."""
        self.note(step, text)
        click.echo(f"  {step:<10} {text}")

    def print_table(self) -> None:
        """Everything again, with the seconds at which it happened."""
        click.echo("\n  seconds  step       what happened")
        for seconds, step, text in self.lines:
            click.echo(f"  {seconds:7.1f}  {step:<10} {text}")
