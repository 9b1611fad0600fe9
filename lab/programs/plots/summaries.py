"""The numbers that the plots draw. Needs the standard library only.

Test: tests/programs/plots.py.
"""
import math
import statistics

from runs import NAN, PlotError, column

STRATEGIES = ("large_batch", "long_seq", "balanced")


def groups(entries):
    """Entries by group: the strategies of the ablation first, others as they come."""
    names = list(dict.fromkeys(e.group for e in entries))
    names.sort(key=lambda n: STRATEGIES.index(n) if n in STRATEGIES else len(STRATEGIES))
    return {name: [e for e in entries if e.group == name] for name in names}


def mean_and_sd(values):
    """Mean and sample standard deviation of the finite values: nan without values, sd 0 for one."""
    good = [v for v in values if math.isfinite(v)]
    if not good:
        return NAN, NAN
    return statistics.fmean(good), statistics.stdev(good) if len(good) > 1 else 0.0


def by_rate(entries, key="loss"):
    """[(rate, mean, sd)] over the seeds, by rising rate."""
    rates = sorted({e.lr for e in entries if math.isfinite(e.lr)})
    rows = [(r, *mean_and_sd([getattr(e, key) for e in entries if e.lr == r])) for r in rates]
    return [row for row in rows if math.isfinite(row[1])]


def best_rate(entries):
    """The rate with the lowest mean final loss, of those that were tried with the most seeds; nan
    when no run has a rate and a loss."""
    def seeds(rate):
        return sum(e.lr == rate and math.isfinite(e.loss) for e in entries)

    table = [(-seeds(rate), mean, rate) for rate, mean, _ in by_rate(entries)]
    return min(table, default=(0, NAN, NAN))[2]


def curve(entry, axis, rows, key):
    """(steps, x, y) of an entry's rows, without gaps. `axis`: step, tokens, seconds, or flops; work
    is proportional to the updates."""
    points = []
    for row in rows:
        x = row.get("step") if axis == "flops" else row.get(axis, NAN)
        if axis == "flops":
            x *= entry.flops / entry.updates if entry.updates else NAN
        elif axis == "tokens" and not math.isfinite(x) and entry.updates:
            x = row["step"] * entry.tokens / entry.updates
        y = row.get(key, NAN)
        if math.isfinite(x) and math.isfinite(y):
            points.append((row["step"], x, y))
    return tuple(list(values) for values in zip(*points)) or ([], [], [])


def band(curves):
    """Over the steps that all curves share: mean x, and mean, smallest, and largest y. Where runs
    end at different steps, as with equal time, their ends are one more point if they are near."""
    tables = [{s: (x, y) for s, x, y in zip(*c)} for c in curves if c[0]]
    if not tables:
        return [], [], [], []
    shared = sorted(set.intersection(*(set(t) for t in tables)))
    rows = [[t[s] for t in tables] for s in shared]
    ends = [t[max(t)] for t in tables]
    first, last = min(x for x, _ in ends), max(x for x, _ in ends)
    if len({max(t) for t in tables}) > 1 and last <= 1.25 * first and (
            not rows or first > max(x for x, _ in rows[-1])):
        rows.append(ends)
    xs = [statistics.fmean(x for x, _ in row) for row in rows]
    ys = [[y for _, y in row] for row in rows]
    return xs, [statistics.fmean(y) for y in ys], [min(y) for y in ys], [max(y) for y in ys]


def layer_table(run, key):
    """(steps, rows[time][layer]) of a field that has one value, or one list, per MoE layer; empty
    for a dense model."""
    rows = [row for row in run.train if row.get(key)]

    def shape(row):
        return [len(v) if isinstance(v, list) else 1 for v in row[key]]

    for row in rows:
        if shape(row) != shape(rows[0]):
            raise PlotError(f"cannot plot {key} of the run {run.name!r}: its shape changes at step "
                            f"{row['step']:.0f}; run the training again")
    return column(rows, "step"), column(rows, key)


def expert_load(run, most=240):
    """(edges, layers) for the heat map: layers[layer][expert][column] is share × experts, 1 when
    fair; column c covers the updates from edges[c] to edges[c + 1]. Neighbouring rows are averaged
    until there are at most `most` columns."""
    steps, table = layer_table(run, "expert_load")
    if not steps:
        return [], []
    width = math.ceil(len(steps) / most)
    parts = [table[i:i + width] for i in range(0, len(table), width)]
    edges = [steps[min(i + width, len(steps)) - 1] for i in range(0, len(steps), width)]
    gap = edges[1] - edges[0] if len(edges) > 1 else max(1.0, edges[0])
    return [max(0.0, edges[0] - gap)] + edges, [
        [[statistics.fmean(row[layer][expert] for row in part) * len(loads) for part in parts]
         for expert in range(len(loads))] for layer, loads in enumerate(table[0])]


def caption(info):
    """Data, seeds, and budget in one line; what results.json does not say is left out."""
    parts = []
    data = info.get("data")
    if isinstance(data, dict):
        data = data.get("name") or data.get("file") or data.get("path")
    if isinstance(data, str) and data.strip():
        # "text: FOLDER/FILE (from there)" and more lines: the file alone.
        data = data.strip().splitlines()[0].removeprefix("text: ").partition(", because")[0]
        parts.append(data.partition(" (")[0].rstrip("/").rpartition("/")[2])
    seeds = info.get("seeds", info.get("seed"))
    if isinstance(seeds, list) and len(seeds) == 1:
        seeds = seeds[0]
    if isinstance(seeds, list) and seeds:
        parts.append("seeds " + ", ".join(str(s) for s in seeds))
    elif seeds or seeds == 0:
        parts.append(f"seed {seeds}")
    budget = info.get("budget")
    if isinstance(budget, str) and budget:
        parts.append(budget)
    elif isinstance(budget, dict):
        rule = budget.get("rule")
        if rule and "study" in info:
            equal = rule in ("updates", "tokens", "flops", "time")
            parts.append(f"equal {rule}" if equal else rule)
        for key in ("updates", "tokens", "flops"):
            amount = budget.get(key)
            if isinstance(amount, (int, float)) and amount > 0:
                parts.append(f"{amount:.2g} FLOPs" if key == "flops" else f"{amount:,.0f} {key}")
    return "; ".join(str(p) for p in parts)
