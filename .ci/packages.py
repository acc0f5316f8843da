"""
Builds the source archive and, out of it, the wheel; installs the wheel in a
new environment, starts its commands, and runs the tests that need no server
out of the unpacked source archive: ``python .ci/packages.py FOLDER``.

It needs the package ``build``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

COMMANDS = (
    "twistd vumi_worker --help",
    "twistd vumi_worker --worker-class vumi_turn.TurnChannelsApi --worker-help",
    "vumi_turn_failures --help",
    "vumi_turn_trace --help",
    "vumi_turn_channel --help",
)


def run(*command: object, folder: Path) -> None:
    """
    Run a command in a folder, outside the tree.

    :raises subprocess.CalledProcessError: it failed.
    """
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    print("+", *command, flush=True)
    subprocess.run([str(word) for word in command], cwd=folder, env=environ, check=True)


def main(folder: Path) -> None:
    """Check both archives in this folder."""
    dist, unpacked, venv = folder / "dist", folder / "source", folder / "venv"
    for old in (dist, unpacked, venv):
        shutil.rmtree(old, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", dist, ROOT, folder=folder)
    (archive,) = dist.glob("*.tar.gz")
    (wheel,) = dist.glob("*.whl")
    with tarfile.open(archive) as tar:
        tar.extractall(unpacked)
    (source,) = unpacked.iterdir()
    run(sys.executable, "-m", "venv", venv, folder=folder)
    python = venv / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", f"{wheel}[test]", folder=folder)
    for command in COMMANDS:
        program, *words = command.split()
        run(venv / "bin" / program, *words, folder=folder)
    # Its own package is the installed one's equal, and comes first on the path.
    run(python, "-m", "tests.fast", "--reporter=text", f"--temp-directory={folder / 'trial'}", folder=source)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
