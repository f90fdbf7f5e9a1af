"""Measure encoders on judged queries from files: no database, no cluster.

python evaluate.py --model DIR --data BEIR_DIR [--data ...] [--baseline bm25] [--baseline DIR] --output DIR
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.config import load
from pipeline.errors import GaramError
from pipeline.evaluation import evaluate_files
from pipeline.progress import shown


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="MRR, nDCG, Recall and sparsity of encoders on judged queries, from files."
    )
    parser.add_argument(
        "--model",
        action="append",
        required=True,
        type=Path,
        metavar="DIR",
        help="folder of an encoder; may be repeated",
    )
    parser.add_argument(
        "--data",
        action="append",
        required=True,
        type=Path,
        metavar="DIR",
        help="corpus.jsonl, queries.jsonl, qrels.tsv; may be repeated",
    )
    parser.add_argument(
        "--baseline", action="append", default=[], metavar="bm25|DIR", help="what to compare with; may be repeated"
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="DIR", help="where report.json and report.html go"
    )
    parser.add_argument("--config", type=Path, help="config.yaml (by default the one here)")
    parser.add_argument("--json", action="store_true", help="print report.json instead of the table")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; exit code 0 done, 1 failed, 2 wrong use."""
    args = _parser().parse_args(arguments)
    try:
        with shown() as progress:
            evaluate_files(
                args.model, args.data, args.baseline, args.output, config=load(args.config), progress=progress
            )
    except GaramError as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"evaluate.py: {error.filename or args.output}: {error.strerror or error}", file=sys.stderr)
        return 1
    if args.json:
        print((args.output / "report.json").read_text(encoding="utf-8"))
    else:
        print((args.output / "table.txt").read_text(encoding="utf-8"))
        print(f"report: {args.output / 'report.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
