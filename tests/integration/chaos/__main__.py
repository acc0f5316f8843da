"""``python -m tests.integration.chaos``: runs for some seeds, and what came of each."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.integration.chaos.run import Run
from tests.integration.rabbitmq import RabbitMQ


def main() -> int:
    """Exit status 0 if nothing was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.chaos", description=__doc__)
    parser.add_argument("--seeds", default="1", help="numbers, with commas between them")
    parser.add_argument("--messages", type=int, default=3000, help="from people; half as many from Turn")
    parser.add_argument("--seconds", type=float, default=40.0, help="with faults")
    parser.add_argument(
        "--stay", type=float, default=8.0, help="seconds after which a held message goes back to its queue"
    )
    parser.add_argument("--logs", help="a folder for the workers' logs and for what happened")
    options = parser.parse_args()
    node = RabbitMQ()
    wrong = 0
    try:
        node.start()
        for seed in (int(each) for each in options.seeds.split(",")):
            run = Run(node, seed, options.messages, options.seconds, options.stay)
            report = run.run()
            wrong += len(report.account.wrongs)
            print(report.text(), flush=True)
            if options.logs:
                Path(options.logs, f"worker-{seed}.log").write_text(run.log)
                Path(options.logs, f"history-{seed}.txt").write_text(run.history)
    finally:
        node.close()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
