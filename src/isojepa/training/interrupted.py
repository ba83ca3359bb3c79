"""What ends a run that was asked to stop."""

from pathlib import Path

from isojepa.boundaries import shown


class Interrupted(Exception):
    """The user, or the machine, asked the run to stop; it was saved first."""

    def __init__(self, number: int, step: int, run: Path) -> None:
        super().__init__(f"stopped at update {step}; go on with --resume --out {shown(run)}")
        self.number = number
