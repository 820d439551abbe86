"""R@k as a picture; needs matplotlib, which the extra `notebook` brings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recall.contract.errors import Misconfigured

if TYPE_CHECKING:
    from pathlib import Path

    from recall.evaluate.asked import Summary


def draw_recall(title: str, summaries: dict[str, Summary], path: Path) -> None:
    """Draw R@k with its 95 % interval by depth, a line a ranking, into `path`.

    Raises Misconfigured without matplotlib.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise Misconfigured("Plots need matplotlib: pip install 'recall[notebook]'.") from error
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for name, summary in summaries.items():
        depths = list(summary.recall)
        means = [100 * value for value in summary.recall.values()]
        low, high = (
            [100 * abs(summary.interval[k][side] - summary.recall[k]) for k in depths]
            for side in (0, 1)
        )
        axes.errorbar(depths, means, yerr=[low, high], marker="o", capsize=3, label=name)
    axes.set(title=title, xlabel="k", ylabel="R@k in %", xscale="log", ylim=(0, 100))
    axes.set_xticks(depths, [str(k) for k in depths])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)
