"""Which room may import what; docs/architecture.rst has the map."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Iterator

from twisted.trial.unittest import SynchronousTestCase

import vumi_turn
from tests.cases import case

PACKAGE = Path(vumi_turn.__file__).parent

#: From the top floor to the ground: a room imports only rooms of lower floors.
FLOORS = (
    {"testing"},
    {"sandbox", "commands"},
    {"service"},
    {"channel"},
    {"monitoring"},
    {"conversation", "delivery", "outbound"},
    {"turn", "caches", "failures"},
    {"vumi"},
    {"broker"},
    {"configuration", "http"},
    {"timing", "_version"},
)

#: Libraries with one door each: the modules that may import them.
DOORS = {
    "txamqp": ("broker.amqp",),
    "treq": ("turn.client", "turn.plain_treq", "commands", "sandbox"),
    "klein": ("turn.webhook", "http", "monitoring", "sandbox"),
}


def modules() -> Iterator[tuple[str, Path]]:
    """Each module's name below the package, and its file."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(part for part in parts if part != "__init__"), path


@cache
def parsed(path: Path) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(path.read_text("utf-8"))


def imports_of(name: str, path: Path, top_only: bool = False) -> Iterator[str]:
    """The dotted names that a module imports; ours without the package's name, with a dot before."""
    tree = parsed(path)
    nodes = tree.body if top_only else list(ast.walk(tree))
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield _shortened(alias.name)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                above = package[: len(package) - node.level + 1]
                module = "." + ".".join([*above, *([module] if module else [])])
            else:
                module = _shortened(module)
            yield module
            for alias in node.names:
                yield f"{module}{'' if module == '.' else '.'}{alias.name}"


def _shortened(name: str) -> str:
    if name == "vumi_turn" or name.startswith("vumi_turn."):
        return "." + name[len("vumi_turn.") :]
    return name


class ImportTests(SynchronousTestCase):
    def test_downwards_only(self) -> None:
        """A room imports only those below it."""
        floor_of = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
        wrong = set()
        for name, path in modules():
            room = name.split(".")[0]
            if not room:  # the package itself: names that are loaded when they are asked for
                continue
            for imported in imports_of(name, path):
                other = imported[1:].split(".")[0]
                if not imported.startswith(".") or not other or other == room:
                    continue
                if floor_of[other] <= floor_of[room]:
                    wrong.add((name, other))
        self.assertEqual(wrong, set())

    def test_only_messages_of_vumi(self) -> None:
        """Caches and the Turn side know vumi's messages, and nothing else of vumi."""
        for name, path in modules():
            with case(name=name, path=path):
                if name.split(".")[0] in ("caches", "turn"):
                    for imported in imports_of(name, path):
                        with case(imported=imported):
                            if imported.startswith(".vumi."):
                                self.assertTrue(imported.startswith(".vumi.messages"), f"{name} imports {imported}")

    def test_doors(self) -> None:
        """txamqp, treq and klein are each used behind one door."""
        for name, path in modules():
            with case(name=name, path=path):
                for imported in imports_of(name, path):
                    with case(imported=imported):
                        library = imported.split(".")[0]
                        if library in DOORS:
                            self.assertTrue(name.startswith(DOORS[library]), f"{name} imports {imported}")

    def test_no_reactor(self) -> None:
        """No module imports the reactor when it is imported itself."""
        for name, path in modules():
            with case(name=name, path=path):
                for imported in imports_of(name, path, top_only=True):
                    with case(imported=imported):
                        self.assertNotEqual(imported, "twisted.internet.reactor")

    def test_plugins_are_cheap(self) -> None:
        """Listing twistd's plugins imports none of the heavy libraries, and installs no reactor."""
        code = (
            "import sys\n"
            "from twisted.plugin import getPlugins\n"
            "from twisted.application.service import IServiceMaker\n"
            "names = {maker.tapname for maker in getPlugins(IServiceMaker)}\n"
            "assert {'vumi_worker', 'start_worker', 'vumi_turn_sandbox', 'vumi_turn_simulator'} <= names, names\n"
            "heavy = {'treq', 'klein', 'txamqp', 'prometheus_client', 'twisted.internet.reactor', 'vumi_turn'}\n"
            "print(sorted(heavy & set(sys.modules)))\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent)
        self.assertEqual((done.stdout.strip(), done.returncode), ("[]", 0), done.stderr)

    def test_worker_loads_what_it_uses(self) -> None:
        """Loading a worker loads neither the operator's page nor what talks to Redis, nor commands or the sandbox."""
        code = (
            "import sys\n"
            "import vumi_turn.service.vumi_worker\n"
            "from vumi_turn import TurnChannelsApi\n"
            "unused = ('monitoring.operator_page', 'monitoring.api', 'caches.redis', 'commands', 'sandbox')\n"
            "names = tuple(f'vumi_turn.{name}' for name in unused)\n"
            "print(sorted(name for name in sys.modules if name.startswith(names)))\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent)
        self.assertEqual((done.stdout.strip(), done.returncode), ("[]", 0), done.stderr)
