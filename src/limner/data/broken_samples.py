"""Leave out the samples whose files are broken or missing, so that they do not stop the rest."""

from collections.abc import Iterable, Set
from dataclasses import dataclass
from pathlib import Path

from limner.data.findings import Finding
from limner.data.sample import Sample
from limner.name_list import list_some_lines
from limner.plurals import count_noun

BROKEN = frozenset(
    {
        "ambiguous-name",
        "channels-differ",
        "missing-image",
        "missing-mask",
        "pages-differ",
        "size-differs",
        "unread-image",
        "unread-mask",
        "unreadable-image",
        "unreadable-mask",
    }
)
"""Codes of errors that are about one pair alone, so that the others can do without it."""
SHOWN = 20
"""Problems that are printed before the rest is counted; the record has them all."""


@dataclass(frozen=True, slots=True)
class UsableSamples:
    """The samples without those that are broken, and what is wrong with these."""

    samples: tuple[Sample, ...]
    left_out: tuple[str, ...] = ()
    """The message of each problem."""
    left_out_ids: tuple[str, ...] = ()
    """The ids of the samples; of a file that is in no sample, its name."""

    def describe(self) -> str:
        """Name what was left out; empty where nothing was."""
        if not self.left_out:
            return ""
        shown = list_some_lines([text.splitlines()[0] for text in self.left_out], SHOWN)
        count = f"{len(self.left_out)} problem{'s' * (len(self.left_out) > 1)}"
        head = f"{count} left out, {count_noun(len(self.samples), 'pair remains', 'pairs remain')}:"
        return f"{head}\n{shown}"


def leave_out_broken(samples: Iterable[Sample], findings: Iterable[Finding]) -> UsableSamples:
    """Leave out the samples that errors of the `BROKEN` codes are about.

    Args:
        samples: All of the dataset.
        findings: Those of its check.
    """
    broken = [finding for finding in findings if finding.code in BROKEN]
    ids: Set[str] = {id for finding in broken for id in finding.ids}
    return UsableSamples(
        tuple(sample for sample in samples if sample.id not in ids),
        tuple(finding.message for finding in broken),
        tuple(sorted(ids | {Path(finding.file).stem for finding in broken if not finding.ids})),
    )
