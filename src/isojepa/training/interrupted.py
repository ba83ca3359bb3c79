"""What ends a run that was asked to stop."""

from pathlib import Path

from isojepa.boundaries import shown


class Interrupted(Exception):
    """The user, the machine or --max-minutes asked the run to stop; it was saved first.

    `number` is the signal's, 0 for --max-minutes.
    """

    def __init__(self, number: int, step: int, run: Path, remedy: str | None = None) -> None:
        remedy = remedy or f"the same command and --resume: the run is in {shown(run)}"
        super().__init__(f"stopped at update {step}; go on with {remedy}")
        self.number, self.step, self.run = number, step, run

    def to_go_on_with(self, remedy: str) -> "Interrupted":
        """The same, with the words of the command that the run is a part of."""
        return Interrupted(self.number, self.step, self.run, remedy)
