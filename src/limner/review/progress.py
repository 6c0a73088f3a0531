"""How far a review is, and what its audited masks say of all."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from limner.review.events import EntryState, VerdictEvent
from limner.review.queue import Task

VERDICT_CODES = {"accepted": "a", "mended": "m", "rejected": "r"}
"""The letters of verdicts in status codes."""
OPEN_CODE, DRAFT_CODE = ".", "d"
"""The letters of tasks without a verdict, and of those with a draft."""


@dataclass(frozen=True, slots=True)
class ReviewProgress:
    """How many tasks there are, and how many have which verdict."""

    tasks: int
    accepted: int
    mended: int
    rejected: int
    minutes_per_image: float | None
    audited: tuple[int, int] = (0, 0)
    """How many audited masks have a verdict, and how many of these were corrected or rejected."""

    @property
    def left(self) -> int:
        """How many tasks have no verdict."""
        return self.tasks - self.accepted - self.mended - self.rejected

    @property
    def audit(self) -> str | None:
        """A sentence that compares the audited masks with the others, which are the least certain.

        None before the first audited mask has a verdict. Where people change fewer of the least
        certain masks than of any, they accept by habit.
        """
        decided, changed = self.audited
        if not decided:
            return None
        others = self.tasks - self.left - decided
        changed_others = self.mended + self.rejected - changed
        comparison = (
            f", of the {others} others {changed_others} ({changed_others / others:.0%})"
            if others
            else ""
        )
        return (
            f"Of {decided} masks drawn at random {changed} {'was' if changed == 1 else 'were'} "
            f"corrected or rejected ({changed / decided:.0%}){comparison}."
        )


@dataclass(frozen=True, slots=True)
class ReviewerNumbers:
    """What one person decided. A later verdict on the same mask counts as another."""

    reviewer: str
    accepted: int
    corrected: int
    rejected: int
    minutes: float
    agreement: float | None = None
    """The mean Dice of their masks with those of others; None where nobody else drew any."""


def count_by_reviewer(
    events: Iterable[VerdictEvent], agreement: Mapping[str, float]
) -> list[ReviewerNumbers]:
    """Count the verdicts and working time of each reviewer, in the order of their names.

    Args:
        events: All verdicts.
        agreement: As of `ReviewResults.agreement_by_reviewer`.
    """
    by_name: dict[str, list[VerdictEvent]] = {}
    for event in events:
        by_name.setdefault(event.reviewer, []).append(event)
    numbers = []
    for name, own in sorted(by_name.items()):
        counts = Counter(event.verdict for event in own)
        minutes = round(sum(event.seconds for event in own) / 60, 1)
        verdicts = counts["accepted"], counts["mended"], counts["rejected"]
        numbers.append(ReviewerNumbers(name, *verdicts, minutes, agreement.get(name)))
    return numbers


def status_code(state: EntryState) -> str:
    """The letter of a task's state. A draft after a verdict waits for another verdict."""
    if state.draft:
        return DRAFT_CODE
    return VERDICT_CODES[state.verdict] if state.verdict else OPEN_CODE


def summarise_progress(
    tasks: Sequence[Task], codes: str, seconds: Sequence[float]
) -> ReviewProgress:
    """Count the verdicts.

    Args:
        tasks: in their order.
        codes: one status code for each task.
        seconds: how long each verdict took.
    """
    audited = [
        code
        for task, code in zip(tasks, codes, strict=True)
        if task.audited and code in VERDICT_CODES.values()
    ]
    return ReviewProgress(
        tasks=len(codes),
        accepted=codes.count("a"),
        mended=codes.count("m"),
        rejected=codes.count("r"),
        minutes_per_image=sum(seconds) / len(seconds) / 60 if seconds else None,
        audited=(len(audited), sum(code != VERDICT_CODES["accepted"] for code in audited)),
    )
