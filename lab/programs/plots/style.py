"""The look of the plots: sizes, colours, axes, and how a figure becomes a file."""
import math
import os
import pathlib
import textwrap

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, FuncFormatter, NullFormatter, NullLocator

from runs import PlotError
from summaries import caption

# In inches. When a page with 6.5 inches of text shrinks the figure, 10 points become 8.1.
WIDTH = 8.0
SETTINGS = {
    "font.size": 10, "axes.titlesize": 10, "axes.labelsize": 10, "xtick.labelsize": 10,
    "ytick.labelsize": 10, "legend.fontsize": 10, "figure.titlesize": 11,
    "font.family": ["DejaVu Sans"], "axes.grid": True, "grid.color": "#dddddd",
    "grid.linewidth": 0.6, "axes.axisbelow": True, "axes.spines.top": False,
    "axes.spines.right": False, "axes.edgecolor": "#666666", "legend.frameon": False,
    "lines.linewidth": 1.6, "lines.markersize": 4.5, "savefig.dpi": 150, "svg.fonttype": "none",
    "svg.hashsalt": "moe", "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06, "figure.constrained_layout.wspace": 0.04,
}
# The colours of the strategies are those of the document. The colour-blind can tell the others
# apart (Okabe and Ito).
COLOURS = {
    "large_batch": "#FF6B6B", "long_seq": "#4ECDC4", "balanced": "#45B7D1",
    "dense": "#0072B2", "moe": "#D55E00", "dense_equal_flops": "#56B4E9",
    "dense_equal_time": "#009E73", "moe_iso_active": "#E69F00",
    "muon": "#D55E00", "adamw": "#0072B2", "training": "#0072B2", "validation": "#D55E00",
}
OTHERS = ("#CC79A7", "#000000", "#999999", "#F0E442")
LINES = {"large_batch": "-", "long_seq": "--", "balanced": "-.", "moe_iso_active": "--",
         "dense_equal_flops": "--", "dense_equal_time": "-.", "adamw": "--"}
MARKERS = {"large_batch": "o", "long_seq": "s", "balanced": "^", "dense": "o", "moe": "s",
           "dense_equal_flops": "v", "dense_equal_time": "D", "moe_iso_active": "^", "muon": "s",
           "adamw": "o"}
LABELS = {"large_batch": "large batch", "long_seq": "long sequence", "moe": "MoE",
          "dense_equal_flops": "dense, equal FLOPs", "dense_equal_time": "dense, equal time",
          "moe_iso_active": "MoE, equal active", "muon": "Muon", "adamw": "AdamW"}


def apply():
    matplotlib.rcdefaults()
    matplotlib.rcParams.update(SETTINGS)


def look(group, order=0):
    """Colour, line style, and marker of a group."""
    return {"color": COLOURS.get(group, OTHERS[order % len(OTHERS)]),
            "linestyle": LINES.get(group, "-"), "marker": MARKERS.get(group, "o")}


def label(group):
    return LABELS.get(group, group.replace("_", " "))


def figure(height, title, info):
    """A figure whose title says what it shows, then data, seeds, and budget."""
    fig = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(fig)
    lines = textwrap.wrap(title, 88) + textwrap.wrap(caption(info), 88)
    fig.suptitle(plain("\n".join(lines)))
    return fig


def plain(text):
    """The text escaped so that matplotlib reads none of it as mathematics."""
    return text.replace("$", r"\$")


def panels(fig, count, columns=2):
    """`count` axes in rows, and one thin row below them for the legend."""
    rows = math.ceil(count / columns)
    grid = fig.add_gridspec(rows + 1, columns, height_ratios=[1] * rows + [0.04])
    axes = [fig.add_subplot(grid[i // columns, i % columns]) for i in range(count)]
    below = fig.add_subplot(grid[rows, :])
    below.set_axis_off()
    return axes, below


def legend(below, handles, columns=4):
    """The legend of all panels, below them."""
    if handles:
        columns = math.ceil(len(handles) / math.ceil(len(handles) / columns))
        below.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 1.0),
                     borderaxespad=0, ncol=columns, handlelength=2.6)


def describe(ax, title, x=None, y=None):
    ax.set_title(title, loc="left")
    if x:
        ax.set_xlabel(x)
    if y:
        ax.set_ylabel(y)


def many(axis):
    """Ticks such as 20k and 1.5M for counts."""
    axis.set_major_formatter(EngFormatter(sep=""))


def percent(axis):
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g}%"))


def log_rates(ax, rates):
    """A logarithmic axis of learning rates with ticks at the rates that were tried."""
    ax.set_xscale("log")
    ax.set_xlabel("learning rate (log scale)")
    ticks, room = [], (max(rates) / min(rates)) ** (1 / 6)  # the width of a number
    for rate in sorted(set(rates)):
        if not ticks or rate > room * ticks[-1]:
            ticks.append(rate)
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_locator(NullLocator())


def log_values(axis):
    """A logarithmic axis with ticks such as 5, 10, 20 instead of powers."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def token_axis(ax, rows):
    """A second axis at the top in tokens, when every update had as many."""
    rates = [row["tokens"] / row["step"] for row in rows
             if row["step"] > 0 and row.get("tokens", 0) > 0]
    if not rates or max(rates) > 1.001 * min(rates):
        return
    rate = rates[-1]
    top = ax.secondary_xaxis("top", functions=(lambda x: x * rate, lambda x: x / rate))
    many(top.xaxis)
    top.set_xlabel("tokens")
    top.spines["top"].set_visible(True)


def save(fig, folder, name, formats):
    """Writes the figure in each format; a file is either whole or not there."""
    written = []
    for kind in formats:
        path = pathlib.Path(folder, f"{name}.{kind}")
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        # Without dates and versions the same results give the same bytes.
        metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fig.savefig(part, format=kind, metadata=metadata)
            os.replace(part, path)
        except OSError as error:
            raise PlotError(f"cannot write {path}: {error.strerror}; "
                            "choose another folder with --out") from None
        finally:
            if part.exists():
                part.unlink()
        written.append(path)
    return written
