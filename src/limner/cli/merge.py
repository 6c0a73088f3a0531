"""`limner merge`: reviewed masks become the next revision of a dataset."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from limner.cli.console import (
    Consensus,
    Predictions,
    Prefer,
    Store,
    console,
    next_command,
    progress_bar,
)
from limner.errors import requires_extra
from limner.plurals import count_noun
from limner.training.run_files import RECEIPT

if TYPE_CHECKING:
    from limner.review.merge import MergeResult


def merge(
    predictions: Predictions,
    data: Annotated[
        Path | None,
        typer.Argument(
            help="The dataset that the masks are added to. It is not changed. Without it a new one "
            "begins with the reviewed masks.",
            show_default=False,
        ),
    ] = None,
    *,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="The folder to make for the next revision.", show_default=False
        ),
    ],
    prefer: Prefer = None,
    consensus: Consensus = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Let reviewed masks replace the dataset's masks of the same images."
        ),
    ] = False,
    store: Store = None,
) -> None:
    """Make accepted and corrected masks the next revision of a dataset.

    Every mask in it says where it is from. Conflicts and images that were changed since are errors,
    all reported together. Go on with: limner train NEW --from RUN
    """
    from limner.data.scan import scan
    from limner.data.split_folders import describe_official_splits
    from limner.recipe import DataSettings

    with requires_extra("the review", "review"):
        from limner.review.merge import MergePolicy, merge_results
        from limner.review.revision import PROVENANCE
        from limner.review.verdicts import Settlement, open_results

    with open_results(predictions, store, progress_bar("reading")) as results:
        policy = MergePolicy(Settlement(prefer, consensus), replace)
        result = merge_results(results, data, out, policy, progress_bar("checking"))
    console.print(
        f"[bold]{escape(str(out))}[/] has {_describe_origin(result, data)}; "
        f"{count_noun(result.replaced, 'mask was', 'masks were')} reviewed anew. "
        f"{count_noun(result.rejected, 'was', 'were')} rejected, "
        f"{count_noun(result.left, 'is', 'are')} not reviewed yet. {PROVENANCE} says where each is "
        "from."
    )
    revision = scan(out)
    splits = describe_official_splits(out, revision.samples, DataSettings())
    console.print(escape(splits), soft_wrap=True)
    if dice := result.agreement:
        console.print(
            f"{count_noun(len(dice), 'mask was', 'masks were')} kept by several people each; "
            f"the Dice between them is {sum(dice) / len(dice):.4f} in the mean and "
            f"{min(dice):.4f} at the least."
        )
    if result.with_consensus:
        each = [f"{escape(name)} {dice:.4f}" for name, dice in result.with_consensus.items()]
        console.print(f"Mean Dice with the {consensus} of those who differ: {', '.join(each)}.")
    models = results.predictions.models if data else ()
    console.print(f"Next: {_next_training(out, models)}", soft_wrap=True)


def _next_training(revision: Path, models: Sequence[str]) -> str:
    """The training of a revision, from the run whose model was corrected, if it is there."""
    runs = (Path(model).parent for model in models)
    origin = next((path for path in runs if (path / RECEIPT).is_file()), None)
    return next_command("train", revision, *(["--from", _as_typed(origin)] if origin else []))


def _as_typed(folder: Path) -> Path:
    """A folder below the working directory by its path from there."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _describe_origin(result: "MergeResult", data: Path | None) -> str:
    """How many samples a revision has, and from where."""
    if data is None:
        return count_noun(result.added, "sample")
    before = f"the {count_noun(result.before, 'sample')} of {escape(str(data))}"
    return f"{before} and {count_noun(result.added, 'new one')}"
