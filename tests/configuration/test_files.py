"""Settings files: YAML, ``!include``, ``!env``, and what is said of a file that cannot be used."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Optional

from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.configuration.files import SettingsError, load_yaml, overlay


class SettingsCase(SynchronousTestCase):
    """Files in a folder of their own."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="vumi_turn_settings_"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = self.folder / "worker.yaml"

    def write(self, name: str, text: Any) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
        return path

    def load(self, text: Any, environ: Optional[dict[str, str]] = None) -> dict[str, Any]:
        """What a file with this text holds."""
        return load_yaml(str(self.write("worker.yaml", text)), environ or {})

    def refusal(self, text: Any, environ: Optional[dict[str, str]] = None) -> str:
        """Why a file with this text cannot be used: one line that begins with its name."""
        sentence = str(self.assertRaises(SettingsError, self.load, text, environ))
        self.assertTrue(sentence.startswith(str(self.path)), sentence)
        self.assertNotIn("\n", sentence)
        return sentence[len(str(self.path)) :]


class YamlTests(SettingsCase):
    def test_values(self) -> None:
        """Options have YAML's types; text may be any."""
        found = self.load('a: 1\nb: 1.5\nc: "8864"\nd: [1, 2]\ne: {f: yes}\ng: Žluťoučký\nh:\n')
        self.assertEqual(
            found, {"a": 1, "b": 1.5, "c": "8864", "d": [1, 2], "e": {"f": True}, "g": "Žluťoučký", "h": None}
        )

    def test_nothing(self) -> None:
        """A file with nothing in it, or with comments only, has no options."""
        for text in ("", "\n\n", "# nothing\n", "---\n"):
            with case(text=text):
                self.assertEqual(self.load(text), {})

    def test_byte_order_mark(self) -> None:
        """A byte order mark, as some editors write one, is no part of the first option."""
        self.assertEqual(self.load("\ufeffa: 1"), {"a": 1})

    def test_not_there(self) -> None:
        """A file that cannot be read is named, with the reason."""
        error = self.assertRaises(SettingsError, load_yaml, str(self.path))
        self.assertEqual(str(error), f"{self.path}: cannot be read (No such file or directory)")
        error = self.assertRaises(SettingsError, load_yaml, str(self.folder))
        self.assertEqual(str(error), f"{self.folder}: cannot be read (Is a directory)")

    def test_no_yaml(self) -> None:
        """What is no YAML is told with line and column."""
        for text, where in (
            ("a: 1\nb: [1\nc: 2\n", ", line 3, column 2: is not YAML ("),
            ("a: 1\n\tb: 2\n", ", line 2, column 1: is not YAML ("),
            ("a: b: c\n", ", line 1, column 5: is not YAML ("),
            ("a: [*nowhere]\n", ", line 1, column 5: is not YAML ("),
            ("a: 1\n---\nb: 2\n", ", line 2, column 1: is not YAML ("),
            ("? [1]\n: 2\n", ", line 1, column 3: is not YAML ("),
        ):
            with case(text=text, where=where):
                self.assertTrue(self.refusal(text).startswith(where))

    def test_unknown_tags(self) -> None:
        """A tag that is not ours is refused, above all one that would run code."""
        self.assertIn(", line 1, column 4: the value of a begins with !, which is a tag", self.refusal("a: !foo []\n"))
        self.assertIn(", line 1, column 4: is not YAML (", self.refusal("a: !!python/object/apply:os.getcwd []\n"))

    def test_signs_that_want_quotes(self) -> None:
        """A text that begins with a sign of YAML's is an error that names the option and says to put quotes."""
        for value in ("*120*8864#", "*120#", "%marker", "!marker", "@marker", "`marker"):
            with case(value=value):
                for line in (f"default_from_addr: {value}", f"  - 'from': {value}"):
                    with case(line=line):
                        sentence = self.refusal(f"a: 1\nb:\n{line}\n" if line[0] == " " else f"a: 1\nb: 2\n{line}\n")
                        key = line.partition(":")[0].strip(" -")
                        self.assertTrue(sentence.startswith(", line 3, column "), sentence)
                        self.assertIn(f"the value of {key} begins with {value[0]}, which is ", sentence)
                        self.assertIn(f'in YAML: put it in quotes, as {key}: "{value[0]}…"', sentence)
                        self.assertNotIn("marker", sentence)
                        self.assertNotIn("120", sentence)

    def test_values_are_never_quoted(self) -> None:
        """Whatever is wrong with a value, the error does not show it: it may be a secret."""
        for text in (
            "!!int marker", "!!float marker", "!!timestamp marker", "!marker", "*marker", "[*marker]",
            "&marker *marker",
            '"marker', '"\\qmarker"', "{marker", "marker: x", "!marker!x y", "!env marker", "!env [marker, 1, 2]",
            "!!marker x", "|marker", ">9marker", "!!python/marker x", "[marker}",
            "&marker x\nb: &marker y\nc: *marker2",
        ):  # fmt: skip
            with case(text=text):
                self.assertNotIn("marker", self.refusal(f"auth_token: {text}\n").replace("marker2", ""))

    def test_twice(self) -> None:
        """A key that is given twice is an error with both lines; what it had been is not shown."""
        sentence = self.refusal("a: marker\nb: 1\na: other\n")
        self.assertEqual(sentence, ", line 3, column 1: a is given twice, in line 1 already")
        self.assertIn(", line 1, column 11: x is given twice", self.refusal("b: {x: 1, x: 2}\n"))

    def test_merged(self) -> None:
        """What a merge brings may be given again: that is what it is for."""
        found = self.load("base: &base {a: 1, b: 2}\nc:\n  <<: *base\n  a: 5\n")
        self.assertEqual(found["c"], {"a": 5, "b": 2})

    def test_aliases(self) -> None:
        """Aliases within aliases that make a small file huge are refused at once; a moderate use works."""
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
        self.assertEqual(self.refusal("\n".join(lines)), ": its aliases make more than 200000 values of it")
        self.assertEqual(len(self.load("\n".join(lines[:3]))["a2"]), 10)
        self.assertIn("an alias refers to what it is part of", self.refusal("a: &a [*a]\n"))

    def test_values_that_are_none(self) -> None:
        """A value that is none of its type is told with its line."""
        for text in ("2021-99-99", "!!int abc", "!!float x", "!!bool maybe", "!!timestamp soon", "9" * 5000):
            with case(text=text):
                self.assertIn(", line 2, column 4: is not YAML (", self.refusal(f"a: 1\nb: {text}\n"))

    def test_characters(self) -> None:
        """A character that YAML does not allow is refused."""
        self.assertIn(": is not YAML (", self.refusal("a: \0\n"))

    def test_not_utf_8(self) -> None:
        """A file in another encoding is refused."""
        self.assertEqual(self.refusal("b: 1\na: Žluť".encode("iso-8859-2")), ", line 2: is not UTF-8")

    def test_deep(self) -> None:
        """A file that is nested without end is refused."""
        self.assertEqual(self.refusal("[" * 900), ": is nested too deep")

    def test_no_mapping(self) -> None:
        """What is YAML but no options is refused, and what it is instead is told."""
        for text, what in (("- a\n- b\n", "a list"), ("text", "a single value"), ("5", "a single value")):
            with case(text=text, what=what):
                self.assertEqual(self.refusal(text), f": options are expected as 'name: value', not {what}")

    def test_names(self) -> None:
        """The name of an option has to be a text."""
        self.assertEqual(self.refusal("a: 1\n5: 2\n"), ": the option 5 must be a text; put it in quotes")


class EnvTests(SettingsCase):
    def test_given(self) -> None:
        """``!env NAME`` is what the environment has, always a text, also where it is empty or there is a default."""
        text = "a: !env NAME\nb: !env [NAME, default]\nc: [!env NAME]\nd: !env EMPTY\n"
        found = self.load(text, {"NAME": "8864", "EMPTY": ""})
        self.assertEqual(found, {"a": "8864", "b": "8864", "c": ["8864"], "d": ""})

    def test_default(self) -> None:
        """A default, of any type, is what a name stands for that the environment has not."""
        found = self.load("a: !env [NAME, 5]\nb: !env [NAME, null]\nc: !env [NAME, {d: [1]}]\n")
        self.assertEqual(found, {"a": 5, "b": None, "c": {"d": [1]}})

    def test_missing(self) -> None:
        """A name that the environment has not, and that has no default, is told."""
        self.assertEqual(
            self.refusal("a: !env NAME\n"), ", line 1, column 4: the environment has no NAME, which !env asks for"
        )

    def test_wrong(self) -> None:
        """What is no name, or more than a name and a default, is refused, and no value is shown."""
        for text in ("!env", "!env []", "!env [A, marker, c]", "!env {A: marker}", "!env [[A], marker]"):
            with case(text=text):
                sentence = self.refusal(f"a: {text}\n", {"A": "marker"})
                self.assertEqual(sentence, ", line 1, column 4: !env wants a name, or [a name, a default]")

    def test_line_end(self) -> None:
        """A line end after the value, as `export X="$(cat file; echo)"` makes one, is cut."""
        self.assertEqual(self.load("a: !env NAME", {"NAME": "x y\r\n"}), {"a": "x y"})

    def test_no_name(self) -> None:
        """What does not look like a variable's name is not shown: it may be the secret itself."""
        sentence = self.refusal("auth_token: !env 5eCreT-marker\n")
        self.assertEqual(sentence, ", line 1, column 13: the environment has no such name, which !env asks for")

    def test_process(self) -> None:
        """The environment is the process's own where no other is given."""
        self.patch(os, "environ", {"VUMI_TURN_TEST": "value"})
        self.assertEqual(load_yaml(str(self.write("worker.yaml", "a: !env VUMI_TURN_TEST"))), {"a": "value"})


class IncludeTests(SettingsCase):
    def test_value(self) -> None:
        """``!include`` puts what another file holds in its place, whatever that is."""
        self.write("list.yaml", "[1, 2]")
        self.write("empty.yaml", "")
        found = self.load("a: !include list.yaml\nb: {c: !include empty.yaml}\n")
        self.assertEqual(found, {"a": [1, 2], "b": {"c": None}})

    def test_whole_file(self) -> None:
        """A file may be nothing but an ``!include`` of another."""
        self.write("other.yaml", "a: 1")
        self.assertEqual(self.load("!include other.yaml"), {"a": 1})

    def test_relative(self) -> None:
        """The name is relative to the file that includes, not to where the worker was started."""
        self.write("one/first.yaml", "!include ../two/second.yaml")
        self.write("two/second.yaml", "!include third.yaml")
        self.write("two/third.yaml", "deep: !env NAME")
        self.assertEqual(self.load("a: !include one/first.yaml", {"NAME": "x"}), {"a": {"deep": "x"}})

    def test_absolute(self) -> None:
        """A name from the root on is taken as it is."""
        other = self.write("other.yaml", "5")
        self.assertEqual(self.load(f"a: !include {other}"), {"a": 5})

    def test_twice(self) -> None:
        """The same file may be included in two places."""
        self.write("other.yaml", "5")
        self.assertEqual(self.load("a: !include other.yaml\nb: !include other.yaml\n"), {"a": 5, "b": 5})

    def test_circle(self) -> None:
        """A file that includes itself, by whatever way, is refused."""
        self.assertEqual(self.refusal("a: !include worker.yaml"), ": includes itself")
        self.write("one.yaml", "!include two.yaml")
        self.write("two.yaml", "!include ./one.yaml")
        error = self.assertRaises(SettingsError, self.load, "a: !include one.yaml")
        self.assertTrue(str(error).endswith("one.yaml: includes itself"), str(error))

    def test_trouble(self) -> None:
        """What is wrong is told of the file where it is wrong."""
        bad = self.write("bad.yaml", "x: 1\ny: [\n")
        for text, sentence in (
            ("a: !include bad.yaml", f"{bad}, line 3, column 1: is not YAML ("),
            ("a: !include gone.yaml", f"{self.folder / 'gone.yaml'}: cannot be read (No such file or directory)"),
            ("a: !include [gone.yaml]", f"{self.path}, line 1, column 4: !include wants the name of a file"),
            ("a: !include", f"{self.path}, line 1, column 4: !include wants the name of a file"),
        ):
            with case(text=text, sentence=sentence):
                error = self.assertRaises(SettingsError, self.load, text)
                self.assertTrue(str(error).startswith(sentence), str(error))

    def test_no_names(self) -> None:
        """A name that no file can have is refused."""
        (self.folder / "loop.yaml").symlink_to(self.folder / "loop.yaml")
        for name in ("loop.yaml", '"a\\0b"', '"\\ud800"'):
            with case(name=name):
                self.assertRaises(SettingsError, self.load, f"a: !include {name}")

    def test_merge(self) -> None:
        """``<<: !include`` merges a file in, whose own tags are of its own folder; what is beside it wins."""
        self.write("common/all.yaml", "a: 1\nb: !env NAME\nc: !include c.yaml\n")
        self.write("common/c.yaml", "deep")
        self.write("more.yaml", "{a: 7, d: 8}")
        environ = {"NAME": "x"}
        found = self.load("<<: !include common/all.yaml\na: 2\n", environ)
        self.assertEqual(found, {"a": 2, "b": "x", "c": "deep"})
        found = self.load("channels:\n  - <<: !include common/all.yaml\n    d: 3\n", environ)
        self.assertEqual(found, {"channels": [{"a": 1, "b": "x", "c": "deep", "d": 3}]})
        text = "base: &base {a: 5, e: 6}\nf:\n  <<: [!include common/all.yaml, !include more.yaml, *base]\n"
        self.assertEqual(self.load(text, environ)["f"], {"a": 5, "b": "x", "c": "deep", "d": 8, "e": 6})

    def test_merge_of_no_mapping(self) -> None:
        """What is merged has to be a mapping."""
        self.write("list.yaml", "[1]")
        self.assertIn(
            ", line 1, column 5: <<: !include wants a file with a mapping", self.refusal("<<: !include list.yaml")
        )


class FileTests(SettingsCase):
    def test_line(self) -> None:
        """``!file`` is a file's one line, without its end; the name is relative to the file that says it."""
        self.write("secrets/token", "marker token\n")
        self.write("other/one.yaml", "a: !file ../secrets/token")
        self.assertEqual(self.load("a: !file secrets/token\nb: !include other/one.yaml\n"),
                         {"a": "marker token", "b": {"a": "marker token"}})  # fmt: skip

    def test_trouble(self) -> None:
        """A file of several lines, or in another encoding, or none, is refused without a word of it."""
        self.write("several", "marker\nmarker\n")
        self.write("bytes", b"marker\xff")
        for text, sentence in (
            ("!file several", "must have one line"),
            ("!file bytes", "is not UTF-8"),
            ("!file gone", "cannot be read (No such file or directory)"),
            ("!file [a]", "!file wants the name of a file"),
            ("!file", "!file wants the name of a file"),
        ):
            with case(text=text, sentence=sentence):
                found = str(self.assertRaises(SettingsError, self.load, f"a: {text}"))
                self.assertIn(sentence, found)
                self.assertNotIn("marker", found)


class OverlayTests(SynchronousTestCase):
    def test_overlay(self) -> None:
        """The last one wins; mappings within are not mixed, and nothing that was given is changed."""
        below = {"a": 1, "b": {"x": 1}}
        self.assertEqual(overlay(below, {"b": {"y": 2}}, {"c": 3}), {"a": 1, "b": {"y": 2}, "c": 3})
        self.assertEqual(below, {"a": 1, "b": {"x": 1}})
