"""Plots of result folders as PNG and SVG.

    plot.py DIR... [--out FOLDER] [--format png,svg] [--runs]

DIR is the folder of a run (training curves, load of the experts, entropy of the routers) or of a
study (ablation, dense_vs_moe, optimizers, upcycle). Files go to DIR/plots/.
Exit codes: 0 all plots were written, 1 a folder cannot be plotted or stdout not written, 2 wrong
usage, 3 matplotlib is missing.
Test: tests/programs/plots.py.
"""
import argparse
import os
import pathlib
import sys

from runs import PlotError, is_study, read_run, read_study
from upcycle import is_upcycle, read_upcycle

FORMATS = ("png", "svg")


def formats(text):
    chosen = list(dict.fromkeys(text.lower().split(",")))
    if not set(chosen) <= set(FORMATS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of {' and '.join(FORMATS)}")
    return chosen


def arguments():
    parser = argparse.ArgumentParser(description="Plots of result folders as PNG and SVG.")
    parser.add_argument("folders", nargs="+", metavar="DIR", type=pathlib.Path,
                        help="folder of a run or a study")
    parser.add_argument("--out", type=pathlib.Path, metavar="FOLDER",
                        help="where the plots go instead of DIR/plots; one folder in it per DIR "
                        "where there are several")
    parser.add_argument("--format", type=formats, default=list(FORMATS), metavar="LIST",
                        help="png,svg (both without this option)")
    parser.add_argument("--runs", action="store_true", help="also plot every run of a study")
    return parser.parse_args()


def targets(options):
    """[(module that draws, what it draws, folder of the plots)]; everything is read here, before
    anything is drawn."""
    import run_figures
    import study_figures
    import upcycle_figures
    found = []
    for folder in options.folders:
        if not folder.is_dir():
            raise PlotError(f"cannot plot {folder}: there is no such folder; check the path")
        out = options.out
        if out and len(options.folders) > 1:
            out = out / folder.resolve().name
        if not is_study(folder) and not is_upcycle(folder):
            found.append((run_figures, read_run(folder), out or folder / "plots"))
            continue
        if is_upcycle(folder):
            found.append((upcycle_figures, read_upcycle(folder), out or folder / "plots"))
            continue
        study = read_study(folder)
        found.append((study_figures, study, out or folder / "plots"))
        for entry in study.entries if options.runs else ():
            if entry.run.train or entry.run.evals:
                found.append((run_figures, entry.run, out / entry.folder.name if out else
                              entry.folder / "plots"))
    places = [place.resolve() for _, _, place in found]
    for place in places:
        if places.count(place) > 1:
            raise PlotError(f"cannot plot two folders to {place}: their files would have the same "
                            "names; plot them one after the other")
    return found


def main():
    options = arguments()
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        print(f"moe: {pathlib.Path(__file__).name} needs matplotlib ({error}); install it with "
              f"'apt install python3-matplotlib' or '{sys.executable} -m pip install matplotlib'",
              file=sys.stderr)
        return 3
    import style
    style.apply()
    try:
        for module, what, place in targets(options):
            for name, fig in module.figures(what).items():
                for path in style.save(fig, place, name, options.format):
                    try:
                        print(path, flush=True)
                    except OSError as error:
                        return unwritten(error)
    except PlotError as error:
        print(f"moe: {error}", file=sys.stderr)
        return 1
    return 0


def finish(code):
    """Flushes the output and returns `code`, or 1 with a sentence if that is not possible."""
    try:
        if sys.stdout is None:  # closed by the caller
            raise OSError("stdout is closed")
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        return unwritten(error) or 1
    return code


def unwritten(error):
    print(f"moe: cannot write the names of the plots to stdout: {error}; give another place",
          file=sys.stderr)
    # Otherwise Python would try again when it ends, and print a traceback.
    sys.stdout = open(os.devnull, "w", encoding="utf-8")
    return 1


if __name__ == "__main__":
    sys.exit(finish(main()))
