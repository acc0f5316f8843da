"""
Reads trial's output and says how it went, by trial's own count.

A test that was skipped has failed where CI or VUMI_TURN_REQUIRE_SERVERS is set:
everything it needs can be installed.
Only the tests with legacy vumi may be skipped where there is no Python 2.7.
"""

import os
import re
import sys


def count(output: str, ci: bool, legacy: bool) -> tuple[int, int, int]:
    """
    :param output: all that trial has printed.
    :param ci: whether a skipped test counts as failed.
    :param legacy: whether there is a Python 2.7.
    :return: passed, failed and skipped tests.
    """
    endings = re.findall(r"^(PASSED|FAILED)(?: \((.*)\))?$", output, re.MULTILINE)
    if not endings:
        return 0, 1, 0
    counts = {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", endings[-1][1] or "")}
    passed = counts.get("successes", 0) + counts.get("expectedFailures", 0)
    failed = sum(counts.get(name, 0) for name in ("failures", "errors", "unexpectedSuccesses"))
    skipped = counts.get("skips", 0)
    if ci:
        allowed = 0 if legacy else skips_of_legacy(output)
        failed += max(0, skipped - allowed)
        skipped = min(skipped, allowed)
    if passed + failed == 0 or (endings[-1][0] == "FAILED" and failed == 0):
        failed += 1
    return passed, failed, skipped


def skips_of_legacy(output: str) -> int:
    """How many tests were skipped for want of a Python 2.7."""
    number = 0
    for section in re.split(r"^=+$", output, flags=re.MULTILINE):
        lines = re.split(r"^-{40,}$", section, flags=re.MULTILINE)[0].strip().splitlines()
        if lines[:1] == ["[SKIPPED]"] and "Python 2.7" in "".join(lines[1:]):
            number += sum(1 for line in lines[1:] if re.match(r"tests(\.\w+)+$", line))
    return number


def main() -> int:
    """Print the line; the exit status."""
    with open(sys.argv[1], encoding="utf-8", errors="replace") as log:
        output = log.read()
    passed, failed, skipped = count(
        output,
        bool(os.environ.get("CI") or os.environ.get("VUMI_TURN_REQUIRE_SERVERS")),
        bool(os.environ.get("VUMI_TURN_REQUIRE_LEGACY")),
    )
    tail = f", {skipped} skipped" if skipped else ""
    print(f"{passed} passed, {failed} failed{tail}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
