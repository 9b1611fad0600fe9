"""Reads the folder of the program upcycle. Needs the standard library only.

Test: tests/programs/plots.py.
"""
import math
import pathlib
from dataclasses import dataclass

from runs import NAN, PlotError, check_row, items, number, parse, read_bytes

PHASES = ("dense", "moe", "dense_control", "moe_from_scratch")


@dataclass
class Growth:
    """One experiment: its rows [(seed, phase, kind)] and the fields of its results.json."""
    name: str
    rows: dict
    info: dict
    words: list  # of the first seed: [layer][expert], objects with load and tokens

    def seeds(self):
        return sorted({seed for seed, _, _ in self.rows})

    def updates(self, seed, phase):
        """Updates of a phase, as far as it has come."""
        rows = [r["step"] for kind in ("train", "eval")
                for r in self.rows.get((seed, phase, kind), [])]
        return max(rows, default=0.0)

    def curve(self, seed, phase, kind, key):
        """(updates since the very beginning, values): phase 2 and the dense control go on where
        phase 1 ended; a mixture from scratch begins at 0."""
        start = self.updates(seed, "dense") if phase in ("moe", "dense_control") else 0.0
        points = [(start + r["step"], r.get(key, NAN))
                  for r in self.rows.get((seed, phase, kind), [])]
        points = [p for p in points if math.isfinite(p[1])]
        return [p[0] for p in points], [p[1] for p in points]


def is_upcycle(folder):
    return pathlib.Path(folder, "training_history.jsonl").is_file()


def read_upcycle(folder):
    folder = pathlib.Path(folder)
    history, results = folder / "training_history.jsonl", folder / "results.json"
    info = parse(read_bytes(results), results) if results.is_file() else {}
    rows = {}
    for i, line in enumerate(read_bytes(history).split(b"\n")):
        if not line.strip():
            continue
        where = f"{history} line {i + 1}"
        row = parse(line, where)
        if row.get("kind") not in ("train", "eval") or row.get("phase") not in PHASES:
            continue
        seed = int(number(row.get("seed"), f"seed of {where}"))
        rows.setdefault((seed, row["phase"], row["kind"]), []).append(check_row(row, where))
    if not any(phase == "dense" for _, phase, _ in rows):
        raise PlotError(f"cannot plot {history}: it has no rows of phase 1; let the experiment "
                        "finish its first phase")
    words = []
    seeds = items(info.get("seeds", []), "seeds", results)
    if seeds:
        first = items(seeds[0], "seeds", results, dict)
        for layer in items(first.get("specialisation", []), "specialisation", results):
            words.append([items(e, "specialisation", results, dict)
                          for e in items(layer, "specialisation", results)])
    return Growth(str(info.get("name") or folder.resolve().name), rows, info, words)


def specialisation(growth, most=12):
    """(tokens, table[layer][token][expert]): the tokens that are most at home in one expert of any
    layer, and in every layer the share of each expert; nan where a token is not among an expert's
    listed ones."""
    best = {}
    for layer in growth.words:
        for expert in layer:
            for word in items(expert.get("tokens", []), "tokens", "specialisation"):
                share = number(word.get("share"), "share of a token")
                token = str(word.get("token"))
                best[token] = max(best.get(token, 0.0), share * math.log1p(
                    number(word.get("count"), "count of a token")))
    tokens = sorted(best, key=lambda t: (-best[t], t))[:most]
    table = []
    for layer in growth.words:
        listed = [{str(w.get("token")): number(w.get("share"), "share of a token")
                   for w in expert.get("tokens", [])} for expert in layer]
        table.append([[shares.get(token, NAN) for shares in listed] for token in tokens])
    return tokens, table
