"""The check of a dataset: every problem as a finding, and what the plan needs, in one pass."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from limner.data.check_class_splits import class_split_findings
from limner.data.check_file_kinds import agree_on_bands, file_kind_findings
from limner.data.check_leaks import copy_findings, group_leak_findings
from limner.data.check_masks import mask_findings
from limner.data.check_objects import object_findings
from limner.data.check_pairing import pairing_findings, unpaired_by_folder
from limner.data.check_same_mask import same_mask_findings
from limner.data.check_sample import inspect_sample
from limner.data.check_set import dataset_findings
from limner.data.check_specks import speck_findings
from limner.data.dataset import Dataset
from limner.data.findings import SEVERITIES, Finding, Severity
from limner.data.group_proposal import group_proposals
from limner.data.label_coding import detect_label_coding
from limner.data.mask_polarity import polarity_findings
from limner.data.parallel import Progress, map_in_order, with_progress
from limner.data.sample import Sample
from limner.data.sample_info import SampleInfo
from limner.data.value_histogram import class_shares
from limner.errors import LimnerError
from limner.labels import VOID, Labels
from limner.name_list import list_some_lines


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The findings of a dataset, errors first, and what was learnt of its samples.

    `sample_info` is of the samples whose files can be read and fit each other. `labels` is None
    where the coding of the masks is not certain. `clusters` gives for each id the lowest id among
    the sample's copies, exact or near, itself included.
    """

    findings: tuple[Finding, ...]
    sample_info: tuple[SampleInfo, ...]
    labels: Labels | None
    clusters: dict[str, str]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that stop training."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def info_by_id(self) -> dict[str, SampleInfo]:
        """What was learnt of each readable sample."""
        return {info.id: info for info in self.sample_info}

    def count(self, severity: Severity) -> int:
        """Count the findings of one severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def by_code(self) -> dict[str, list[Finding]]:
        """Group the findings by code, the worst codes first."""
        groups: dict[str, list[Finding]] = {}
        for finding in self.findings:
            groups.setdefault(finding.code, []).append(finding)
        return groups

    def to_json(self) -> list[dict[str, Any]]:
        """Give the findings as JSON holds them."""
        return [asdict(finding) for finding in self.findings]


def check(dataset: Dataset, progress: Progress | None = None) -> CheckResult:
    """Read every file of a dataset once and report all that is wrong with it.

    Args:
        dataset: What `scan` found in a folder.
        progress: Wraps the iteration over the samples, given their number, so that a bar can be
            drawn; none by default.

    Returns:
        The findings, errors first, and what was learnt: the classes, the size and mask values of
        each sample, and which samples are copies. A file that cannot be read is a finding.

    Example:
        >>> from limner import check, scan
        >>> result = check(scan("lesions"))
        >>> len(result.errors)
        0
    """
    findings = list(pairing_findings(dataset))
    infos: list[SampleInfo] = []
    inspected = map_in_order(inspect_sample, dataset.samples)
    for sample_findings, info in with_progress(inspected, len(dataset.samples), progress):
        findings += sample_findings
        infos += [info] if info else []
    labels, clusters = None, dict[str, str]()
    if not dataset.samples and not dataset.unread:
        message = (
            "no image has a mask at its place. The errors of the code missing-mask say where masks "
            "of the same names are."
            if unpaired_by_folder(dataset)
            else "no image has a mask of the same name. Name each mask as its image."
        )
        findings.append(Finding("no-pairs", "error", "", message))
    elif infos:
        samples = {sample.id: sample for sample in dataset.samples}
        infos, band_findings = agree_on_bands(infos, samples)
        findings += band_findings
        findings += file_kind_findings(infos, samples)
        findings += dataset_findings(infos, samples)
        findings += group_leak_findings(samples)
        findings += group_proposals(dataset.root, dataset.samples)
        duplicates, clusters = copy_findings(infos, samples)
        findings += duplicates
        labels, coding_findings = _label_coding(dataset, infos, samples)
        findings += coding_findings
        findings += speck_findings(infos, samples, labels)
        if labels:
            findings += same_mask_findings(infos, samples, clusters)
            findings += class_split_findings(infos, samples, labels, clusters)
    findings.sort(
        key=lambda finding: (SEVERITIES.index(finding.severity), finding.code, finding.file)
    )
    return CheckResult(tuple(findings), tuple(infos), labels, clusters)


def _label_coding(
    dataset: Dataset, infos: Sequence[SampleInfo], samples: Mapping[str, Sample]
) -> tuple[Labels | None, list[Finding]]:
    # A mask that is void everywhere has no values to learn the coding from
    histograms = [info.mask for info in infos if info.mask.shares]
    if not histograms:
        message = (
            "no pixel of any mask has data, so there is no class: nodata and what lies outside of "
            "the masks' own masks is void. Do the files state the right nodata value?"
        )
        return None, [Finding("mask-values", "error", "", message)]
    labels, findings = None, list[Finding]()
    try:
        labels = detect_label_coding(histograms, dataset.class_names, dataset.stated_labels)
        if not dataset.class_names and not dataset.stated_labels:
            findings += object_findings(infos, samples, labels)
        findings += mask_findings(infos, labels, stated=dataset.stated_labels is not None)
    except LimnerError as error:
        labels = None
        findings.append(Finding("mask-values", "error", "", str(error)))
    if not dataset.stated_labels:
        findings += polarity_findings(infos, labels)
    return labels, findings


def require_valid(result: CheckResult, allowed: frozenset[str] = frozenset()) -> Labels:
    """Give the labels of a dataset without errors, those of the `allowed` codes left out.

    Raises LimnerError that names the first errors.
    """
    errors = [finding for finding in result.errors if finding.code not in allowed]
    if errors or result.labels is None:
        shown = list_some_lines([finding.message for finding in errors])
        raise LimnerError(
            f"the dataset has {len(errors)} error{'s' * (len(errors) != 1)}:\n{shown}\n"
            "Mend them; `limner check` lists them all."
        )
    return result.labels


def classes_by_id(result: CheckResult) -> dict[str, frozenset[int]]:
    """For each id the class indices that its mask has, void left out."""
    assert result.labels is not None
    return {
        info.id: frozenset(class_shares(result.labels, info.mask)) - {VOID}
        for info in result.sample_info
    }


def foreground_shares(result: CheckResult) -> dict[str, float]:
    """For each id the share of its pixels that is neither background nor void; splits are balanced
    by it.
    """
    assert result.labels is not None
    left_out = {VOID} | {i for i, name in enumerate(result.labels.names) if name == "background"}
    return {
        info.id: sum(
            share
            for class_index, share in class_shares(result.labels, info.mask).items()
            if class_index not in left_out
        )
        for info in result.sample_info
    }
