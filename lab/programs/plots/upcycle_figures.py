"""The plots of an upcycling experiment: the whole history, and which tokens go where."""
import math

import matplotlib
from matplotlib.lines import Line2D

import style
from upcycle import specialisation

LOOKS = {"dense": ("phase 1: dense", "#0072B2", "-"),
         "moe": ("phase 2: grown mixture", "#D55E00", "-"),
         "dense_control": ("control: dense goes on", "#56B4E9", "--"),
         "moe_from_scratch": ("control: mixture from scratch", "#E69F00", "--")}


def figures(growth):
    """{file name: figure}"""
    all_figures = {"history": history(growth), "specialisation": words(growth)}
    return {name: fig for name, fig in all_figures.items() if fig is not None}


def history(growth):
    """Both phases on one axis with the boundary between them, and the controls."""
    fig = style.figure(4.6, f"Growing of {growth.name}: loss over both phases",
                       {"seeds": growth.seeds(), **growth.info.get("settings_caption", {})})
    axes, below = style.panels(fig, 1, 1)
    ax = axes[0]
    used = []
    for seed in growth.seeds():
        for phase, (_, colour, line) in LOOKS.items():
            x, y = growth.curve(seed, phase, "train", "loss")
            if x and phase in ("dense", "moe"):
                ax.plot(x, y, color=colour, lw=0.7, alpha=0.25)
            x, y = growth.curve(seed, phase, "eval", "val_loss")
            if x:
                ax.plot(x, y, color=colour, ls=line, lw=1.8, marker="o", ms=3)
            if (x or phase == "dense") and phase not in used:
                used.append(phase)
    boundary = growth.updates(growth.seeds()[0], "dense")
    ax.axvline(boundary, color="black", lw=1.2, ls=":")
    style.describe(ax, "Thick: validation, thin: training", "updates", "loss (nats)")
    style.many(ax.xaxis)
    handles = [Line2D([], [], color=LOOKS[p][1], ls=LOOKS[p][2], label=LOOKS[p][0]) for p in used]
    handles.append(Line2D([], [], color="black", ls=":", label=f"boundary, {boundary:,.0f} updates"))
    style.legend(below, handles, 2)
    return fig


def words(growth):
    """A map for each layer: rows are tokens, columns experts, the colour is the share of a token's
    occurrences."""
    tokens, table = specialisation(growth)
    if not tokens:
        return None
    columns = min(4, len(table))
    rows = math.ceil(len(table) / columns)
    fig = style.figure(1.4 + 2.9 * rows, f"Specialisation of the experts of {growth.name}", {})
    grid = fig.add_gridspec(rows, columns)
    colours = matplotlib.colormaps["viridis"].with_extremes(bad="#eeeeee")
    axes, mesh = [], None
    for layer, shares in enumerate(table):
        ax = fig.add_subplot(grid[layer // columns, layer % columns])
        mesh = ax.imshow(shares, cmap=colours, vmin=0, vmax=1, aspect="auto")
        ax.grid(False)
        ax.set_yticks(range(len(tokens)), [style.plain(repr(t)) for t in tokens]
                      if layer % columns == 0 else [""] * len(tokens))
        style.describe(ax, f"layer {layer}", "expert", None)
        axes.append(ax)
    bar = fig.colorbar(mesh, ax=axes)
    bar.set_label("share of the token's occurrences")
    return fig
