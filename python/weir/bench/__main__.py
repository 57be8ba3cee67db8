# SPDX-License-Identifier: Apache-2.0
"""python -m weir.bench: see --help."""
import os
import sys

from weir.bench import options, report, rounds, tables
from weir.bench.progress import Progress


def run(chosen: options.Options) -> int:
    """Measures every combination and writes what came out.  1: some of them failed."""
    grid = options.grid(chosen)
    if not grid:
        print("weir bench reader: no combination of these sizes: a chunk is at most as large as its buffer",
              file=sys.stderr)
        return 2
    os.makedirs(chosen.output_dir, exist_ok=True)
    results = []
    with Progress(len(grid), shown=not chosen.quiet, each=chosen.verbose) as progress:
        for combination in grid:
            progress.begin(str(combination))
            results.append(rounds.measure(chosen, combination))
            progress.end(results[-1])
            tables.write(chosen, results)  # an interrupted run keeps what it has
    tell(chosen, results)
    return 0 if all(result.error is None for result in results) else 1


def tell(chosen: options.Options, results: list[rounds.Result]) -> None:
    if not chosen.no_charts:
        report.write(chosen.html, chosen, results)
    if chosen.json:
        tables.show_json(chosen, results)
    elif not chosen.quiet:
        tables.show(results)
        if not chosen.no_charts:
            print(f"the page: {chosen.html}", file=sys.stderr)


def main(arguments: list[str] | None = None) -> int:
    chosen = options.parse(arguments)
    try:
        return run(chosen)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
