"""The plots of one run: training curves, load of the experts, entropy of the routers."""
import math

import matplotlib
from matplotlib.colors import TwoSlopeNorm
from matplotlib.lines import Line2D

import style
from runs import column
from summaries import expert_load, layer_table


def figures(run):
    """{file name: figure}; a dense model has no plots of routers."""
    all_figures = {"training_curves": training_curves(run), "expert_load": load_map(run),
                   "router_entropy": router_entropy(run)}
    return {name: fig for name, fig in all_figures.items() if fig is not None}


def finite(rows, key):
    points = [(row["step"], row.get(key, math.nan)) for row in rows]
    return [p for p in points if math.isfinite(p[1])]


def with_perplexity(rows, loss):
    """The rows, with the perplexity exp(loss) if a row has none."""
    return [{"perplexity": math.exp(min(row.get(loss, math.nan), 700.0)), **row} for row in rows]


def training_curves(run):
    train, evals = with_perplexity(run.train, "loss"), run.evals
    has_balance = any(v for v in column(train, "balance") if math.isfinite(v))
    last = (("Balance loss (1 = even load)", "balance", "balance loss") if has_balance else
            ("Norm of the gradient", "grad_norm", "norm"))
    plans = [  # title, label of y, [(rows, field, look)]
        ("Loss", "loss (nats)", [(train, "loss", "raw"), (evals, "train_loss", "training"),
                                 (evals, "val_loss", "validation")]),
        ("Accuracy of the next token", "accuracy", [(train, "accuracy", "raw"),
                                                    (evals, "val_accuracy", "validation")]),
        ("Perplexity", "perplexity", [(train, "perplexity", "raw"),
                                      (evals, "val_perplexity", "validation")]),
        ("Throughput of training", "tokens/s", [(train, "tokens_per_second", "one"),
                                               (evals, "tokens_per_second", "marks")]),
        ("Learning rate", "learning rate", [(train, "lr", "one")]),
        (last[0], last[2], [(train, last[1], "one")])]
    plans = [(title, y, [(finite(rows, key), look) for rows, key, look in lines])
             for title, y, lines in plans]
    plans = [plan for plan in plans if any(points for points, _ in plan[2])]
    fig = style.figure(1.2 + 2.4 * math.ceil(len(plans) / 2), f"Training of {run.name}", run.info)
    axes, below = style.panels(fig, len(plans))
    looks = {"raw": dict(color=style.COLOURS["training"], lw=1.0, alpha=0.5),
             "one": dict(color="#444444", lw=1.4),
             "marks": dict(color="#444444", ls="", marker="o", ms=4),
             "training": dict(color=style.COLOURS["training"], lw=1.8),
             "validation": dict(color=style.COLOURS["validation"], lw=1.8, marker="o", ms=4)}
    names = {"raw": "training, logged updates", "training": "training, mean since last evaluation",
             "validation": "validation"}
    used = []
    for i, (ax, (title, y, lines)) in enumerate(zip(axes, plans)):
        for points, look in lines:
            if points:
                lonely = {"marker": "o", "ms": 4} if len(points) == 1 else {}
                ax.plot(*zip(*points), **{**looks[look], **lonely})
                used += [look] if look in names and look not in used else []
        style.describe(ax, title, "updates" if i + 2 >= len(plans) else None, y)
        values = [v for points, _ in lines for _, v in points]
        if y == "accuracy":
            style.percent(ax.yaxis)
        elif y == "perplexity" and min(values) > 0 and max(values) > 10 * min(values):
            ax.set_yscale("log")
            ax.set_ylabel("perplexity (log scale)")
            style.log_values(ax.yaxis)
        elif y == "tokens/s":
            ax.set_ylim(0, 1.08 * max(values) or 1)
            style.many(ax.yaxis)
        style.many(ax.xaxis)
        if i < 2:
            style.token_axis(ax, run.train or run.evals)
    style.legend(below, [Line2D([], [], label=names[k], **looks[k]) for k in names if k in used], 3)
    return fig


def load_map(run):
    """Layers below each other, in each layer one line per expert; white is the fair share."""
    edges, layers = expert_load(run)
    if not layers:
        return None
    lines = [row for layer in layers for row in layer]
    values = sorted(v for row in lines for v in row if math.isfinite(v)) or [1.0]
    # A single outlier must not make the colours of all others alike.
    top = max(2.0, values[int(0.995 * (len(values) - 1))])
    fig = style.figure(min(9.5, 2.2 + max(1.2, 0.11 * len(lines), 0.42 * len(layers))),
                       f"Load of the experts of {run.name}", run.info)
    ax = fig.add_subplot()
    colours = matplotlib.colormaps["RdBu_r"].with_extremes(bad="#777777")
    mesh = ax.pcolormesh(edges, range(len(lines) + 1), lines, cmap=colours, rasterized=True,
                         norm=TwoSlopeNorm(1.0, 0.0, top))
    ax.grid(False)
    starts = [sum(len(layer) for layer in layers[:i]) for i in range(len(layers) + 1)]
    for start in starts[1:-1]:
        ax.axhline(start, color="black", lw=1.2)
    ax.set_ylim(len(lines), 0)
    ax.set_yticks([(a + b) / 2 for a, b in zip(starts, starts[1:])],
                  [f"layer {i}" for i in range(len(layers))])
    ax.tick_params(axis="y", length=0)
    sizes = {len(layer) for layer in layers}
    experts = f"0 to {sizes.pop() - 1}" if len(sizes) == 1 else "of its own"
    ax.set_ylabel(f"MoE layer, in each its experts {experts} downwards")
    ax.set_xlabel("updates")
    style.many(ax.xaxis)
    style.token_axis(ax, run.train)
    bar = fig.colorbar(mesh, ax=ax, extend="max" if values[-1] > top else "neither", pad=0.02)
    bar.set_label("share × experts (1 = fair share)")
    step = 1 if top <= 6 else math.ceil((top - 1) / 4)
    bar.set_ticks([0, 1] + list(range(1 + step, int(top) + 1, step)) if top > 3 else
                  [0, 0.5, 1] + [v for v in (1.5, 2, 2.5, 3) if v <= top])
    bar.minorticks_off()
    return fig


def router_entropy(run):
    """Entropy and effective experts of every MoE layer against their even levels."""
    _, loads = layer_table(run, "expert_load")
    plans = [("Entropy of the routers", "router_entropy", "entropy (nats)", math.log),
             ("Effective experts", "effective_experts", "exp(entropy of the load)", float)]
    tables = [(plan, *layer_table(run, plan[1])) for plan in plans]
    tables = [t for t in tables if t[1]]
    if not tables:
        return None
    layers = len(tables[0][2][0])
    named = range(0, layers, math.ceil(layers / 12))
    fig = style.figure(3.9 + 0.25 * (len(named) // 5), f"Routers of {run.name}", run.info)
    axes, below = style.panels(fig, len(tables), len(tables))
    colours = [matplotlib.colormaps["viridis"](0.88 * i / max(1, layers - 1))
               for i in range(layers)]
    for ax, ((title, _, y, level), steps, rows) in zip(axes, tables):
        for layer, colour in enumerate(colours):
            ax.plot(steps, [row[layer] for row in rows], color=colour, lw=1.4,
                    marker="o" if len(steps) == 1 else None)
        for experts in sorted({len(e) for e in loads[0]} if loads else ()):
            ax.axhline(level(experts), color="black", ls="--", lw=1.2)
        style.describe(ax, title, "updates", y)
        style.many(ax.xaxis)
    handles = [Line2D([], [], color=colours[i], label=f"layer {i}") for i in named]
    if loads:
        even = " and ".join(str(n) for n in sorted({len(e) for e in loads[0]}))
        handles.append(Line2D([], [], color="black", ls="--", label=f"even ({even} experts)"))
    style.legend(below, handles, 5)
    return fig
