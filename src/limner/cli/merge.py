"""`limner merge`: reviewed masks become the next revision of a dataset."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from limner.cli.console import Predictions, Prefer, Store, console, progress_bar
from limner.errors import requires_extra
from limner.plurals import count_noun


def merge(
    predictions: Predictions,
    data: Annotated[
        Path,
        typer.Argument(
            help="The dataset that the masks are added to. It is not changed.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="The folder to make for the next revision.", show_default=False
        ),
    ],
    prefer: Prefer = None,
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
        from limner.review.verdicts import open_results

    with open_results(predictions, store, progress_bar("reading")) as results:
        policy = MergePolicy(prefer, replace)
        result = merge_results(results, data, out, policy, progress_bar("checking"))
    console.print(
        f"[bold]{escape(str(out))}[/] has the {count_noun(result.before, 'sample')} of "
        f"{escape(str(data))} and {count_noun(result.added, 'new one')}; "
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
            f"{count_noun(len(dice), 'mask was', 'masks were')} kept by two people each; "
            f"the Dice between the two is {sum(dice) / len(dice):.4f} in the mean and "
            f"{min(dice):.4f} at the least."
        )
