"""Reads result folders. Needs the standard library only.

A run is a folder with metrics.jsonl, results.json, or both; a study is a folder whose results.json
lists several runs.   Test: tests/programs/plots.py.
"""
import json
import math
import pathlib
from dataclasses import dataclass, field

STUDIES = ("ablation", "dense_vs_moe", "optimizers")
NAN = float("nan")


class PlotError(Exception):
    """An error that the user can mend, as one sentence."""


@dataclass
class Run:
    """One training: its rows of metrics, and the fields of its results.json (may be empty)."""
    name: str
    train: list = field(default_factory=list)
    evals: list = field(default_factory=list)
    info: dict = field(default_factory=dict)


@dataclass
class Entry:
    """One run of a study. Units: loss in nats, accuracy a share, seconds of training alone."""
    name: str
    group: str
    lr: float
    seed: int
    updates: float
    tokens: float
    flops: float
    loss: float
    accuracy: float
    speed: float
    folder: pathlib.Path
    run: Run


@dataclass
class Study:
    name: str
    kind: str
    info: dict
    entries: list


def number(value, where):
    """A JSON number as a float. A missing field, and null, which stands for a number that is not
    finite, are nan."""
    if value is None:
        return NAN
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise PlotError(f"cannot plot {where}: it is not a number; run the training again")
    return float(value)


def column(rows, key):
    return [row.get(key, NAN) for row in rows]


def parse(text, where):
    """The object in the bytes `text`, or an error that names the place."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = str(error).replace("\n", " ")
        raise PlotError(f"cannot read {where}: it is not JSON ({reason}); "
                        "run the training again") from None
    if not isinstance(value, dict):
        raise PlotError(f"cannot read {where}: it is not a JSON object; run the training again")
    return value


def read_bytes(path):
    try:
        return path.read_bytes()
    except OSError as error:
        raise PlotError(f"cannot read {path}: {error.strerror}; check the path") from None


def read_rows(path):
    """The rows of metrics.jsonl by kind. A last line that was cut off is left out, because a run
    may be plotted while it writes. Of rows with the same step the last one counts."""
    rows = {"train": {}, "eval": {}}
    lines = read_bytes(path).split(b"\n")
    for i, line in enumerate(lines):
        if not line.strip():
            continue
        where = f"{path} line {i + 1}"
        try:
            row = parse(line, where)
        except PlotError:
            if i + 1 == len(lines):
                break
            raise
        if row.get("kind") in rows:
            row = check_row(row, where)
            rows[row["kind"]][row["step"]] = row
    return [[kind[step] for step in sorted(kind)] for kind in rows.values()]


LAYERS = ("expert_load", "effective_experts", "router_entropy", "max_violation", "dead_experts")


def check_row(row, where):
    """The row with every number as a float."""
    result = {"kind": row["kind"]}
    for key, value in row.items():
        if key == "expert_load":
            result[key] = [[number(v, f"{key} of {where}") for v in items(layer, key, where)]
                           for layer in items(value, key, where)]
        elif key in LAYERS:
            result[key] = [number(v, f"{key} of {where}") for v in items(value, key, where)]
        elif not isinstance(value, (str, bool, list, dict)):
            result[key] = number(value, f"{key} of {where}")
    if not math.isfinite(result.get("step", NAN)):
        raise PlotError(f"cannot plot {where}: it has no step; run the training again")
    return result


def items(value, key, where, kind=list):
    if not isinstance(value, kind):
        name = "a list" if kind is list else "an object"
        raise PlotError(f"cannot plot {key} of {where}: it is not {name}; run the training again")
    return value


def rows_of_results(info, where):
    """The rows that results.json itself holds, for a folder without metrics.jsonl."""
    names = {"aux_loss": "balance", "tokens_per_sec": "tokens_per_second"}
    train = [{names.get(k, k): v for k, v in items(row, "train_losses", where, dict).items()}
             for row in items(info.get("train_losses", []), "train_losses", where)]
    if "val_metrics" in info:
        evals = [dict(items(row, "val_metrics", where, dict))
                 for row in items(info["val_metrics"], "val_metrics", where)]
    else:
        table = items(info.get("eval_metrics", {}), "eval_metrics", where, dict)
        keys = {"steps": "step", "tokens": "tokens", "losses": "val_loss",
                "accuracies": "val_accuracy", "perplexities": "val_perplexity", "tokens_per_sec": "tokens_per_second"}
        columns = {new: items(table[old], old, where) for old, new in keys.items() if old in table}
        evals = [dict(zip(columns, values)) for values in zip(*columns.values())]
    return ([check_row({**row, "kind": "train"}, where) for row in train],
            [check_row({**row, "kind": "eval"}, where) for row in evals])


def read_run(folder):
    """One run; at least one of metrics.jsonl and results.json has rows."""
    folder = pathlib.Path(folder)
    metrics, results = folder / "metrics.jsonl", folder / "results.json"
    info = parse(read_bytes(results), results) if results.is_file() else {}
    train, evals = read_rows(metrics) if metrics.is_file() else rows_of_results(info, results)
    if not train and not evals:
        raise PlotError(f"cannot plot {folder}: there are no rows in its metrics.jsonl or "
                        "results.json; give a folder that a training has written to")
    return Run(str(info.get("name") or folder.resolve().name), train, evals, info)


def is_study(folder):
    path = pathlib.Path(folder, "results.json")
    if not path.is_file():
        return False
    info = parse(read_bytes(path), path)
    return info.get("study", "upcycle") != "upcycle" or "ablation_configs" in info


def read_study(folder):
    folder = pathlib.Path(folder)
    path = folder / "results.json"
    info = parse(read_bytes(path), path)
    kind = info.get("study", "ablation")
    if kind not in STUDIES:
        raise PlotError(f"cannot plot {path}: the study {kind!r} is unknown; "
                        f"known are {', '.join(STUDIES)}")
    own = {str(items(r, "results", path, dict).get("config_name")): r
           for r in items(info.get("results", []), "results", path)}
    configs = {str(items(c, "ablation_configs", path, dict).get("name")): c
               for c in items(info.get("ablation_configs", []), "ablation_configs", path)}
    listed = items(info.get("runs") or [{**configs.get(n, {}), **r, "name": n}
                                        for n, r in own.items()], "runs", path)
    entries = [read_entry(folder, kind, items(e, "runs", path, dict), own, path) for e in listed]
    # A run that serves two comparisons may be listed twice.
    entries = list({e.name: e for e in entries if math.isfinite(e.loss) or e.run.evals}.values())
    if not entries:
        raise PlotError(f"cannot plot {path}: none of its runs has a validation loss; "
                        "let the study finish at least one run")
    if "seeds" not in info and "seed" not in info:
        info["seeds"] = sorted({e.seed for e in entries if e.seed is not None})
    if "budget" not in info:
        info["budget"] = "; ".join(filter(None, (span([getattr(e, key) for e in entries], key)
                                                 for key in ("updates", "tokens"))))
    return Study(str(info.get("name") or folder.resolve().name), kind, info, entries)


def span(values, unit):
    """The text "least to most"; "" without values."""
    good = [v for v in values if math.isfinite(v)]
    texts = list(dict.fromkeys(f"{v:,.0f}" for v in (min(good), max(good)))) if good else []
    return f"{' to '.join(texts)} {unit} a run" if good else ""


def read_entry(folder, kind, entry, own, path):
    name = str(entry.get("name", ""))
    where = f"{path}, run {name!r}"
    run_folder = folder / str(entry.get("folder") or f"runs/{name}")
    if folder.resolve() not in run_folder.resolve().parents:
        raise PlotError(f"cannot read {where}: its folder lies outside of the study; "
                        "give a folder inside")
    if any((run_folder / f).is_file() for f in ("metrics.jsonl", "results.json")):
        run = read_run(run_folder)
    else:
        run = Run(name, *rows_of_results(own.get(name, {}), where))

    def value(key, default=NAN):
        got = number(entry.get(key), f"{key} of {where}")
        return got if math.isfinite(got) else default

    def last(rows, key):
        return ([v for v in column(rows, key) if math.isfinite(v)] or [NAN])[-1]

    strategy, _, rate = name.partition("_lr")
    group = strategy if kind == "ablation" and rate else entry.get("group")
    lr = value("lr")
    if not math.isfinite(lr) and rate:
        try:
            lr = float(rate.partition("_")[0])
        except ValueError:
            pass
    seed = value("seed")
    seed = int(seed) if math.isfinite(seed) else None
    return Entry(name, str(group or name), lr, seed,
                 value("updates", last(run.train + run.evals, "step")),
                 value("tokens", last(run.evals, "tokens")), value("flops"),
                 value("final_val_loss", last(run.evals, "val_loss")),
                 value("final_val_acc", last(run.evals, "val_accuracy")),
                 value("avg_tokens_per_sec", last(run.train, "tokens_per_second")),
                 run_folder, run)
