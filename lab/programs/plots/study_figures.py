"""The plots of a study: several runs that are compared."""
import math

from matplotlib.lines import Line2D

import style
from runs import NAN
from summaries import band, best_rate, by_rate, curve, groups, mean_and_sd


def figures(study):
    """{file name: figure}"""
    if study.kind == "dense_vs_moe":
        return {"dense_vs_moe": dense_vs_moe(study)}
    if study.kind == "optimizers":
        return {"optimizers": optimizers(study)}
    result = {"ablation_comparison": ablation(study)}
    for rate in sorted({e.lr for e in study.entries if math.isfinite(e.lr)}):
        result[f"duo_lr{rate:g}"] = duo(study, rate)
    return result


def handles(named, lines=True):
    """The legend of groups."""
    looks = [(name, style.look(name, i)) for i, name in enumerate(named)]
    return [Line2D([], [], label=style.label(name), **(look if lines else {**look, "ls": ""}))
            for name, look in looks]


def spread(count):
    """Small offsets that keep the points of one group apart."""
    return [0.0] if count == 1 else [0.24 * i / (count - 1) - 0.12 for i in range(count)]


def points_by_group(ax, named, key, flat=False):
    """Every run as a point, beside them mean ± standard deviation. `flat` has groups as rows."""
    for i, (name, entries) in enumerate(named.items()):
        values = [v for v in (getattr(e, key) for e in entries) if math.isfinite(v)]
        if not values:
            continue
        look = {**style.look(name, i), "linestyle": ""}
        mean, sd = mean_and_sd(values)
        places = [i - 0.14 + offset for offset in spread(len(values))]
        error = {"fmt": "_" if not flat else "|", "color": "black", "ms": 14, "capsize": 4,
                 "elinewidth": 1.2, "mew": 1.4}
        if flat:
            ax.plot(values, places, alpha=0.9, **look)
            ax.errorbar([mean], [i + 0.22], xerr=[sd] if len(values) > 1 else None, **error)
        else:
            ax.plot(places, values, alpha=0.9, **look)
            ax.errorbar([i + 0.22], [mean], yerr=[sd] if len(values) > 1 else None, **error)
    names = [style.label(name) for name in named]
    if flat:
        ax.set_yticks(range(len(names)), [name.replace(", ", ",\n") for name in names])
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.grid(False, axis="y")
    else:
        ax.set_xticks(range(len(names)), [name.replace(" ", "\n", 1) for name in names])
        ax.set_xlim(-0.5, len(names) - 0.5)
        ax.grid(False, axis="x")


def curves_by_group(ax, named, axis, thin=False, bands=False, scale=1.0):
    """The mean of each group; with the runs as thin lines, or with a band from least to most."""
    for i, (name, entries) in enumerate(named.items()):
        look = style.look(name, i)
        curves = [curve(e, axis, e.run.evals, "val_loss") for e in entries]
        xs, mean, low, high = band(curves)
        if thin:
            for _, x, y in curves:
                ax.plot([v * scale for v in x], y, color=look["color"], ls=look["linestyle"],
                        lw=0.8, alpha=0.6)
        if not xs:
            continue
        xs = [x * scale for x in xs]
        if bands and len(curves) > 1:
            ax.fill_between(xs, low, high, color=look["color"], alpha=0.22, lw=0)
        ax.plot(xs, mean, **{**look, "marker": look["marker"] if len(xs) == 1 else ""}, lw=2.2)


def rates_by_group(ax, named, key="loss"):
    """The final loss against the learning rate: points of the runs, line of the means."""
    rates = []
    for i, (name, entries) in enumerate(named.items()):
        look = style.look(name, i)
        good = [e for e in entries if math.isfinite(e.lr) and math.isfinite(getattr(e, key))]
        ax.plot([e.lr for e in good], [getattr(e, key) for e in good],
                **{**look, "linestyle": ""}, alpha=0.9)
        means = by_rate(entries, key)
        ax.plot([m[0] for m in means], [m[1] for m in means], **{**look, "marker": ""})
        rates += [e.lr for e in good]
    if rates:
        style.log_rates(ax, rates)


def crop(ax, values):
    """Cuts the high losses of the beginning off: the last values fill at least a quarter of the
    panel."""
    good = [v for v in values if math.isfinite(v)]
    if not good:
        return
    low, high = ax.get_ylim()
    bottom = min(good) - 0.15 * (max(good) - min(good)) - 0.02
    span = max(4 * (max(good) - bottom), 0.25 * abs(min(good)))
    ax.set_ylim(max(low, min(bottom, min(good) - 0.04 * span)), min(high, bottom + span))


def ablation(study):
    named = groups(study.entries)
    fig = style.figure(9.6, "Batch size against sequence length: points are runs, bars are "
                       "mean ± standard deviation", study.info)
    axes, below = style.panels(fig, 6)
    for ax, key, title, y in ((axes[0], "loss", "Final validation loss", "loss (nats)"),
                              (axes[1], "accuracy", "Final validation accuracy", "accuracy"),
                              (axes[2], "speed", "Throughput", "tokens/s")):
        points_by_group(ax, named, key)
        style.describe(ax, title, None, y)
    style.percent(axes[1].yaxis)
    style.many(axes[2].yaxis)
    speeds = [e.speed for e in study.entries if math.isfinite(e.speed)]
    axes[2].set_ylim(0, 1.08 * max(speeds, default=1))
    curves_by_group(axes[3], named, "tokens", thin=True)
    style.describe(axes[3], "Validation loss (thick: mean of runs)", "tokens", "loss (nats)")
    style.many(axes[3].xaxis)
    rates_by_group(axes[4], named)
    style.describe(axes[4], "Final loss by learning rate", None, "validation loss (nats)")
    for i, (name, entries) in enumerate(named.items()):
        axes[5].plot([e.speed for e in entries], [e.loss for e in entries],
                     **{**style.look(name, i), "linestyle": ""}, alpha=0.9)
    style.describe(axes[5], "Final loss by throughput", "tokens/s", "validation loss (nats)")
    style.many(axes[5].xaxis)
    style.legend(below, handles(named))
    return fig


def bars(ax, named, key, offset, width, text, **options):
    """One bar per group with its value on top; the height is the mean over seeds."""
    tops = []
    for i, (name, entries) in enumerate(named.items()):
        mean, sd = mean_and_sd([getattr(e, key) for e in entries])
        if math.isfinite(mean):
            ax.bar(i + offset, mean, width, color=style.look(name, i)["color"],
                   edgecolor="#333333", lw=0.6, yerr=sd if len(entries) > 1 else None, **options)
            ax.annotate(text(mean), (i + offset, mean + sd), ha="center", va="bottom",
                        xytext=(0, 1), textcoords="offset points")
            tops.append(mean + sd)
    ax.set_xticks(range(len(named)), [style.label(n).replace(" ", "\n", 1) for n in named])
    ax.grid(False, axis="x")
    return max(tops, default=NAN)


def duo(study, rate):
    """The strategies at one learning rate."""
    named = groups([e for e in study.entries if e.lr == rate])
    fig = style.figure(6.4, f"Strategies at learning rate {rate:g}", study.info)
    grid = fig.add_gridspec(3, 2, height_ratios=[1, 0.06, 1])
    ax, below = fig.add_subplot(grid[0, :]), fig.add_subplot(grid[1, :])
    below.set_axis_off()
    for i, (name, entries) in enumerate(named.items()):
        for entry in entries:
            _, x, y = curve(entry, "tokens", entry.run.train, "loss")
            ax.plot(x, y, color=style.look(name, i)["color"], lw=0.8, alpha=0.6)
    curves_by_group(ax, named, "tokens")
    style.describe(ax, "Loss (thin: training, thick: validation)", "tokens", "loss (nats)")
    style.many(ax.xaxis)
    style.legend(below, handles(named))
    left = fig.add_subplot(grid[2, 0])
    right = left.twinx()
    top = bars(left, named, "loss", -0.2, 0.38, lambda v: f"{v:.2f}")
    if math.isfinite(top):
        left.set_ylim(0, 1.15 * top)
    top = bars(right, named, "accuracy", 0.2, 0.38, lambda v: f"{100 * v:.0f}%", hatch="///",
               alpha=0.75)
    if math.isfinite(top):
        right.set_ylim(0, 1.15 * top)
    right.grid(False)
    right.spines["right"].set_visible(True)
    style.percent(right.yaxis)
    style.describe(left, "Validation loss and accuracy", None, "loss (nats)")
    right.set_ylabel("accuracy (hatched)")
    speed = fig.add_subplot(grid[2, 1])
    top = bars(speed, named, "speed", 0, 0.6, lambda v: f"{v:,.0f}")
    if math.isfinite(top):
        speed.set_ylim(0, 1.15 * top)
    style.describe(speed, "Throughput", None, "tokens/s")
    style.many(speed.yaxis)
    return fig


def dense_vs_moe(study):
    """Three panels for the three rules of comparison, one for the final losses. Runs that only
    search for a learning rate are left out."""
    named = groups([e for e in study.entries if not e.group.startswith("rates_")])
    fig = style.figure(7.2, "Dense against mixture of experts: mean of the seeds, band from lowest "
                       "to highest", study.info)
    axes, below = style.panels(fig, 4)
    rules = (("Equal updates", "step", "updates", ""),
             ("Equal training FLOPs", "flops", "training FLOPs", "dense_equal_flops"),
             ("Equal time of training", "seconds", "seconds of training", "dense_equal_time"))
    special = ("dense_equal_flops", "dense_equal_time", "moe_iso_active")
    for ax, (title, axis, x, twin) in zip(axes, rules):
        if twin in named:
            shown = {n: e for n, e in named.items() if n in (twin, "moe")}
        else:
            shown = {n: e for n, e in named.items() if axis == "step" or n in ("dense", "moe")
                     if n not in special[:2]}
        scale = 1.0
        if axis == "flops":
            work = max((e.flops for s in shown.values() for e in s if math.isfinite(e.flops)),
                       default=0)
            power = 3 * int(math.log10(work) // 3) if work > 0 else 0
            scale, x = 10.0 ** -power, f"{x} ($10^{{{power}}}$)"
        curves_by_group(ax, shown, axis, bands=True, scale=scale)
        crop(ax, [e.loss for s in shown.values() for e in s])
        style.describe(ax, title, x, "validation loss (nats)")
    style.many(axes[0].xaxis)
    points_by_group(axes[3], named, "loss", flat=True)
    style.describe(axes[3], "Final loss, mean ± standard deviation", "validation loss (nats)")
    style.legend(below, handles(named), 3)
    return fig


def optimizers(study):
    named = groups(study.entries)
    fig = style.figure(4.6, "Optimizers: final loss at every learning rate, and the curves of each "
                       "one's best rate", study.info)
    axes, below = style.panels(fig, 2)
    rates_by_group(axes[0], named)
    style.describe(axes[0], "Final loss by learning rate", None, "validation loss (nats)")
    best = {name: [e for e in entries if e.lr == best_rate(entries)]
            for name, entries in named.items()}
    curves_by_group(axes[1], best, "step", bands=True)
    crop(axes[1], [e.loss for entries in best.values() for e in entries])
    style.describe(axes[1], "Best rates (band: range of the seeds)", "updates",
                   "validation loss (nats)")
    style.many(axes[1].xaxis)
    lines = handles(named)
    for line, (name, entries) in zip(lines, best.items()):
        if entries:
            seeds = len({e.seed for e in entries})
            line.set_label(f"{style.label(name)}, best rate {entries[0].lr:g} "
                           f"({seeds} seed{'s' if seeds > 1 else ''})")
    style.legend(below, lines, 2)
    return fig
