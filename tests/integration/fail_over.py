"""
How long nobody consumes when the worker that does is ended, under load, and
what became of every message::

    python -m tests.integration.fail_over --kills 20

A row for each kind of queue: the gap is the longest time in which Turn got no POST.
"""

from __future__ import annotations

import argparse
import statistics
import sys

from tests.integration.standby_load import FailOvers, Result
from tests.integration.standby_rig import StandbyRig

HEADING = (
    "queues    messages  ends  gap: median  longest  lost  out of order  twice  of these unanswered  not in flight"
)


def row(queue_type: str, result: Result) -> str:
    """One row of the table."""
    return (
        f"{queue_type:<8}{result.messages:>10}{len(result.gaps):>6}"
        f"{statistics.median(result.gaps):>11.1f} s{max(result.gaps):>7.1f} s{len(result.lost):>6}"
        f"{len(result.out_of_order):>14}{len(result.twice):>7}{len(result.unanswered):>21}{len(result.not_in_flight):>15}"
    )


def measure(queue_type: str, how: str, times: int, workers: int) -> Result:
    """End the worker that consumes so many times."""
    rig = StandbyRig(f"fail_over_{queue_type}", workers, queue_type)
    try:
        fail_overs = FailOvers(rig)
        for number in range(times):
            fail_overs.end_holder(how)
            print(f"{queue_type}: {number + 1} of {times}", file=sys.stderr)
        return fail_overs.finish()
    finally:
        rig.close()


def main() -> int:
    """Print the table; the exit status is 1 where one was lost, out of order, or twice without being in flight."""
    parser = argparse.ArgumentParser(description="Fail-over figures of workers that stand by for each other.")
    parser.add_argument("--kills", type=int, default=20, help="how often the worker that consumes is ended")
    parser.add_argument("--how", choices=("kill", "freeze", "stop"), default="kill")
    parser.add_argument("--queues", choices=("classic", "quorum"), action="append", help="of this type; repeat it")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    results = {
        each: measure(each, options.how, options.kills, options.workers)
        for each in options.queues or ["classic", "quorum"]
    }
    print(HEADING)
    for queue_type, result in results.items():
        print(row(queue_type, result))
    return 1 if any(each.lost or each.out_of_order or each.not_in_flight for each in results.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
