"""Fields of configurations: what each takes, what it refuses, and what it says then."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.configuration.fields import (
    MASK,
    Config,
    ConfigBool,
    ConfigClassName,
    ConfigConnectorName,
    ConfigContent,
    ConfigDict,
    ConfigErrors,
    ConfigFloat,
    ConfigHostNames,
    ConfigInt,
    ConfigList,
    ConfigSecret,
    ConfigServerEndpoint,
    ConfigText,
    ConfigToken,
    ConfigUrl,
    ConfigUrlPath,
)


class FieldCase(SynchronousTestCase):
    """Reads one option, named ``option``."""

    def read(self, field: Any, value: Any) -> Any:
        """What a field makes of a value."""
        return config_class(option=field)({"option": value}).option

    def refusal(self, field: Any, value: Any) -> str:
        """The one sentence with which a field refuses a value."""
        error = self.assertRaises(ConfigErrors, self.read, field, value)
        self.assertEqual(len(error.errors), 1, error.errors)
        self.assertTrue(error.errors[0].startswith("option "), error.errors)
        return str(error.errors[0])


def config_class(**fields: Any) -> type[Any]:
    """A config with these fields."""
    return type("SomeConfig", (Config,), fields)


class TextTests(FieldCase):
    def test_text(self) -> None:
        """A text is taken as it is, also an empty one."""
        for value in ("Hello", "two words", "", "Žluťoučký", '5" pipe', "it's", "a 'b'", "x'\""):
            with case(value=value):
                self.assertEqual(self.read(ConfigText("doc"), value), value)

    def test_line_end(self) -> None:
        """A line end after a text, as a file or a shell adds one, is cut, whatever kind of text it is."""
        for field in (ConfigText("doc", required=True), ConfigSecret("doc"), ConfigToken("doc"), ConfigContent("doc")):
            with case(field=field):
                for end in ("\n", "\r\n", "\n\n"):
                    with case(end=end):
                        self.assertEqual(self.read(field, "marker" + end), "marker")
        self.assertEqual(self.read(ConfigUrl("doc"), "https://h/v1\n"), "https://h/v1")
        self.assertEqual(self.read(ConfigServerEndpoint("doc"), "127.0.0.1:80\n"), "tcp:80:interface=127.0.0.1")

    def test_dirt(self) -> None:
        """Other dirt around a text is refused by what it is; a secret is not shown."""
        for value, what in (
            (" marker", "has a space, a tab or a line end at its beginning"),
            ("marker\t", "has a space, a tab or a line end at its end"),
            ("\nmarker", "has a space, a tab or a line end at its beginning"),
            ("marker\u00a0", "has a space, a tab or a line end at its end"),
            ('"marker"', "has quotation marks around it"),
            ("'marker'", "has quotation marks around it"),
            ("“marker”", "has quotation marks around it"),
            ("\ufeffmarker", "has a byte order mark at its beginning"),
            ("marker\u200b", "has an invisible character at its end (U+200B)"),
            ("\x00marker", "has an invisible character at its beginning (U+0000)"),
            ("mar\udcffker", "has bytes that are not UTF-8"),
        ):
            with case(value=value, what=what):
                for field in (ConfigText("doc"), ConfigConnectorName("doc"), ConfigUrl("doc")):
                    with case(field=field):
                        self.assertIn(what, self.refusal(field, value))
                for field in (ConfigSecret("doc"), ConfigToken("doc")):
                    with case(field=field):
                        sentence = self.refusal(field, value)
                        self.assertTrue(sentence.startswith(f"option {what}"), sentence)
                        self.assertTrue(sentence.endswith(": ***"), sentence)

    def test_content(self) -> None:
        """A text that people read keeps its spaces and quotation marks."""
        for value in (" Hello ", '"Hello"', "a\nb"):
            with case(value=value):
                self.assertEqual(self.read(ConfigContent("doc"), value), value)
        self.assertIn("not UTF-8", self.refusal(ConfigContent("doc"), "x\udcff"))

    def test_other_types(self) -> None:
        """Something else than a text is refused: it is shown, and a text is asked for."""
        for value in (["a"], {"a": 1}, b"bytes"):
            with case(value=value):
                self.assertEqual(self.refusal(ConfigText("doc"), value), f"option must be a text, not {value!r}")

    def test_number(self) -> None:
        """A number that YAML has read where a text was meant: put it in quotes, says the refusal."""
        for value in (8864, 27.5, True):
            with case(value=value):
                sentence = self.refusal(ConfigText("doc"), value)
                self.assertEqual(sentence, f"option must be a text (put it in quotes), not {value!r}")

    def test_required(self) -> None:
        """What has to be there must not be empty, nor only spaces."""
        for value in ("", "  ", "\n"):
            with case(value=value):
                sentence = self.refusal(ConfigText("doc", required=True), value)
                self.assertEqual(sentence, "option must not be empty: a text is expected")

    def test_long_values(self) -> None:
        """Of a long value the beginning is shown."""
        sentence = self.refusal(ConfigText("doc"), ["x" * 1000])
        self.assertIn("['xxx", sentence)
        self.assertLess(len(sentence), 120)


class SecretTests(FieldCase):
    def test_refused(self) -> None:
        """A refused secret is not shown, whatever it is and whatever is wrong with it."""
        for value in (1234567, ["marker"], {"marker": 1}):
            with case(value=value):
                self.assertEqual(
                    self.refusal(ConfigSecret("doc"), value).replace(" (put it in quotes)", ""),
                    "option must be a text, not ***",
                )

    def test_shown(self) -> None:
        """Where a config is printed, a secret is ``***``, and one that is empty is seen to be."""
        fields = {"secret": ConfigSecret("doc"), "none": ConfigSecret("doc", default=""), "plain": ConfigText("doc")}
        config = config_class(**fields)({"secret": "marker", "plain": "hello"})
        self.assertEqual(config.masked(), {"secret": MASK, "none": "", "plain": "hello"})
        self.assertNotIn("marker", repr(config))
        self.assertIn("hello", repr(config))


class TokenTests(FieldCase):
    def test_token(self) -> None:
        """A token of visible ASCII characters is taken as it is."""
        for value in ("abcDEF-._~+/=09", "a", "eyJ.eyJ.sig", "one's"):
            with case(value=value):
                self.assertEqual(self.read(ConfigToken("doc"), value), value)

    def test_line_end(self) -> None:
        """A token with a line end in it is refused; so is any secret."""
        for field in (ConfigToken("doc", required=True), ConfigSecret("doc")):
            with case(field=field):
                for value in ("\nmarker", "mar\nker", "mar\rker\n"):
                    with case(value=value):
                        sentence = self.refusal(field, value)
                        self.assertIn("line end", sentence)
                        self.assertNotIn("ker", sentence)

    def test_space(self) -> None:
        """A token with spaces is refused; the sentence says so."""
        for value in (" marker", "marker ", "Bearer marker", "mar\tker"):
            with case(value=value):
                sentence = self.refusal(ConfigToken("doc", required=True), value)
                self.assertIn("a space", sentence)
                self.assertNotIn("ker", sentence)

    def test_others(self) -> None:
        """Other characters that no header can hold are refused; the sentence says so."""
        for value in ("markér", "mark\u2026", "mark\x00er", "mark\x7fer"):
            with case(value=value):
                sentence = self.refusal(ConfigToken("doc", required=True), value)
                self.assertIn("ASCII", sentence)
                self.assertNotIn("mark", sentence)


class ConnectorNameTests(FieldCase):
    def test_names(self) -> None:
        """A name in lower case is taken."""
        for value in ("ussd_8864", "a.b-c", "ž", "x" * 200):
            with case(value=value):
                self.assertEqual(self.read(ConfigConnectorName("doc"), value), value)

    def test_upper_case(self) -> None:
        """A name in upper case is refused, and told in lower case."""
        sentence = self.refusal(ConfigConnectorName("doc"), "USSD_8864")
        self.assertEqual(sentence, "option must be in lower case, as 'ussd_8864', not 'USSD_8864'")

    def test_characters(self) -> None:
        """Spaces, nothing at all, and more than a queue's name can hold are refused."""
        for value in ("a b", "a\nb", "a\x01b", "", "x" * 201):
            with case(value=value):
                self.assertIn(
                    "from 1 to 200 characters, and no spaces", self.refusal(ConfigConnectorName("doc"), value)
                )


class NumberTests(FieldCase):
    def test_whole(self) -> None:
        """A whole number is taken from a number or from a text, which is what flags and the environment give."""
        for value, number in ((5, 5), ("5", 5), (" -5 ", -5), (5.0, 5), (0, 0)):
            with case(value=value, number=number):
                found = self.read(ConfigInt("doc"), value)
                self.assertEqual((found, type(found)), (number, int))

    def test_not_whole(self) -> None:
        """What is no whole number is refused and shown."""
        value: Any
        for value in (5.5, "5.5", "five", "", True, [], float("inf"), float("nan")):
            with case(value=value):
                self.assertEqual(self.refusal(ConfigInt("doc"), value), f"option must be a whole number, not {value!r}")

    def test_number(self) -> None:
        """A number is taken from a number or from a text, and is a float then."""
        for value, number in ((5, 5.0), ("5.5", 5.5), (1e3, 1000.0), ("1e3", 1000.0)):
            with case(value=value, number=number):
                found = self.read(ConfigFloat("doc"), value)
                self.assertEqual((found, type(found)), (number, float))

    def test_no_number(self) -> None:
        """What is no number, or none that can be reckoned with, is refused and shown."""
        value: Any
        for value in ("10 s", "", False, {}, "nan", "inf", float("-inf")):
            with case(value=value):
                self.assertEqual(self.refusal(ConfigFloat("doc"), value), f"option must be a number, not {value!r}")
        self.assertIn("must be a number", self.refusal(ConfigFloat("doc"), 10**400))

    def test_bounds(self) -> None:
        """A bound is named together with the value that is beyond it, and the bound itself is within."""
        for field, good, bad, expected in (
            (ConfigInt("doc", minimum=1), 1, 0, "a whole number, 1 or more"),
            (ConfigInt("doc", maximum=65535), 65535, 65536, "a whole number, 65535 or less"),
            (ConfigFloat("doc", minimum=0), 0.0, -0.1, "a number, 0 or more"),
        ):
            with case(field=field, good=good, bad=bad, expected=expected):
                self.assertEqual(self.read(field, good), good)
                self.assertEqual(self.refusal(field, bad), f"option must be {expected}, not {bad!r}")

    def test_exclusive_bound(self) -> None:
        """A number may have to be greater than a bound."""
        field = ConfigFloat("doc", exclusive_minimum=0)
        self.assertEqual(self.read(field, 0.001), 0.001)
        self.assertEqual(self.refusal(field, "0"), "option must be a number greater than 0, not '0'")


class OtherTypeTests(FieldCase):
    def test_yes_or_no(self) -> None:
        """Yes and no are taken as YAML knows them, and as texts."""
        for value, meant in ((True, True), (False, False), ("true", True), ("No", False), ("ON", True), ("0", False)):
            with case(value=value, meant=meant):
                self.assertIs(self.read(ConfigBool("doc"), value), meant)

    def test_neither_yes_nor_no(self) -> None:
        """What is neither is refused."""
        value: Any
        for value in (1, "maybe", []):
            with case(value=value):
                self.assertEqual(self.refusal(ConfigBool("doc"), value), f"option must be true or false, not {value!r}")

    def test_mapping(self) -> None:
        """A mapping is taken as a copy: the settings that were read stay as they are."""
        given = {"a": 1}
        found = self.read(ConfigDict("doc"), given)
        found["b"] = 2
        self.assertEqual(given, {"a": 1})
        self.assertEqual(self.refusal(ConfigDict("doc"), [1]), "option must be a mapping, not [1]")

    def test_default_mapping(self) -> None:
        """What is done to one config's mapping is not seen in the next config's default."""
        config = config_class(option=ConfigDict("doc", default={}))
        config({}).option["a"] = 1
        self.assertEqual(config({}).option, {})

    def test_list(self) -> None:
        """A list is taken as a copy."""
        given = [1]
        self.read(ConfigList("doc"), given).append(2)
        self.assertEqual(given, [1])
        self.assertEqual(self.refusal(ConfigList("doc"), "a, b"), "option must be a list, not 'a, b'")


class ClassNameTests(FieldCase):
    def test_dotted_name(self) -> None:
        """A dotted name gives the class; a class is taken as it is."""
        self.assertIs(self.read(ConfigClassName("doc"), "decimal.Decimal"), __import__("decimal").Decimal)
        self.assertIs(self.read(ConfigClassName("doc"), FieldCase), FieldCase)

    def test_short_name(self) -> None:
        """A short name stands for a dotted one."""
        field = ConfigClassName("doc", short_names={"Short": "decimal.Decimal"})
        self.assertEqual(self.read(field, "Short").__name__, "Decimal")

    def test_not_there(self) -> None:
        """A class that is not there is named, and so is why."""
        for name in ("decimal.NoSuchClass", "no_such_module.Class", "NoDots", "."):
            with case(name=name):
                sentence = self.refusal(ConfigClassName("doc"), name)
                self.assertIn(f"option names {name!r}, which cannot be imported (", sentence)
                self.assertIn("a class's dotted name is expected", sentence)

    def test_no_class(self) -> None:
        """What is there but is no class is refused, and so is what is no name."""
        for value in ("os.path", "os.getcwd", 7, ""):
            with case(value=value):
                sentence = self.refusal(ConfigClassName("doc"), value)
                self.assertEqual(sentence, f"option must be the dotted name of a class, not {value!r}")


class UrlTests(FieldCase):
    def test_urls(self) -> None:
        """http and https URLs are taken; the slash at the end goes, and the scheme is in lower case."""
        for value, url in (
            ("https://whatsapp.turn.io/v1/numbers/x", "https://whatsapp.turn.io/v1/numbers/x"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
            ("http://[::1]:8080/v1//", "http://[::1]:8080/v1"),
            ("HTTPS://turn.example/V1", "https://turn.example/V1"),
            ("http://žlutý.example/v1", "http://žlutý.example/v1"),
            ("http://localhost", "http://localhost"),
        ):
            with case(value=value, url=url):
                self.assertEqual(self.read(ConfigUrl("doc"), value), url)

    def test_no_url(self) -> None:
        """What is no http(s) URL is refused, and one is shown."""
        for value in (
            "whatsapp.turn.io/v1", "ftp://turn.example/", "http://", "//turn.example", "http://h:99999/", "http://h:0/",
            "http://[::1/", "http://h/a b", "http://h/\nx", "http://h\x00/", "http://h/\x7fx",
        ):  # fmt: skip
            with case(value=value):
                sentence = self.refusal(ConfigUrl("doc"), value)
                self.assertIn("must be an http(s) URL, as https://whatsapp.turn.io/v1/numbers/<uuid>, not ", sentence)
                self.assertIn(repr(value), sentence)

    def test_host(self) -> None:
        """A host name that can be no host's is refused before anybody tries to connect there."""
        for host in ("turn_simulator", "-a", "a..b", "x" * 64, "[fe80::1%25eth0]"):
            with case(host=host):
                sentence = self.refusal(ConfigUrl("doc"), f"https://{host}:8080/v1")
                self.assertIn(host.strip("[]"), sentence)
                self.assertIn("letters, digits, hyphens and dots", sentence)

    def test_password(self) -> None:
        """A user name and a password are refused and not shown, also where more is wrong."""
        for value in ("https://user:marker@h/v1", "https://marker@h/", "ftp://user:marker@h", "https://u:marker@h:0/"):
            with case(value=value):
                self.assertNotIn("marker", self.refusal(ConfigUrl("doc"), value))

    def test_query(self) -> None:
        """A query or a fragment is refused, because paths are put after the URL."""
        for value in ("https://h/v1?token=x", "https://h/v1#x", "https://h/v1?", "https://h/v1#"):
            with case(value=value):
                self.assertIn("must have no query and no fragment", self.refusal(ConfigUrl("doc"), value))


class HostNamesTests(SynchronousTestCase):
    def test_names(self) -> None:
        """Names are taken, in lower case; what has a port, a path or a scheme is none, and there are at most 20."""

        class Names(Config):
            names = ConfigHostNames("Names.", default=[])

        self.assertEqual(Names({}).names, [])
        self.assertEqual(Names({"names": ["Page.example.org", "box"]}).names, ["page.example.org", "box"])
        for wrong in (["a:80"], ["http://a"], ["a/b"], [""], [7], "a", ["a"] * 21):
            with case(wrong=wrong):
                self.assertRaises(ConfigErrors, Names, {"names": wrong})


class UrlPathTests(FieldCase):
    def test_paths(self) -> None:
        """Nothing, and a path that starts with a slash, are taken."""
        for value in ("", "/", "/turn", "/a/b/", "/a-b.c~d_e"):
            with case(value=value):
                self.assertEqual(self.read(ConfigUrlPath("doc"), value), value)

    def test_no_path(self) -> None:
        """What could never be asked for is refused, and a path is shown."""
        for value in ("turn", "https://h/turn", "/a b", "/a?b", "/a#b", "/<a>", "/a%20b", "/a\nb"):
            with case(value=value):
                sentence = self.refusal(ConfigUrlPath("doc"), value)
                self.assertEqual(
                    sentence, f"option must be a plain path that starts with a slash, as /turn, not {value!r}"
                )


class EndpointTests(FieldCase):
    def test_host_and_port(self) -> None:
        """``host:port`` is where to listen, as Twisted writes it; without a host it is every address."""
        for value, endpoint in (
            ("127.0.0.1:8080", "tcp:8080:interface=127.0.0.1"),
            ("localhost:0", "tcp:0:interface=localhost"),
            (":8080", "tcp:8080"),
            ("[::1]:8080", "tcp6:8080:interface=\\:\\:1"),
            ("[::]:65535", "tcp6:65535:interface=\\:\\:"),
        ):
            with case(value=value, endpoint=endpoint):
                self.assertEqual(self.read(ConfigServerEndpoint("doc"), value), endpoint)

    def test_endpoints(self) -> None:
        """An endpoint of Twisted's is taken as it is."""
        for value in (
            "tcp:8080", "tcp:8080:interface=127.0.0.1:backlog=100", "tcp:port=8080", "tcp6:80:interface=\\:\\:1",
            "unix:/run/turn.sock", "unix:/run/turn.sock:mode=660", "haproxy:tcp:8080",
            "systemd:domain=INET:index=0",
        ):  # fmt: skip
            with case(value=value):
                self.assertEqual(self.read(ConfigServerEndpoint("doc"), value), value)

    def test_no_endpoint(self) -> None:
        """What is neither is refused, and all three forms are told."""
        for value in (
            "8080", "localhost", "127.0.0.1:eighty", "a b:80", "", "tcp", "tcp:", "tcp:http", "tcp:-1", "unix:", "unix",
            "carrier-pigeon:1:2", "[127.0.0.1]:80", "[::::]:80", "http://127.0.0.1:80/", "onion:80",
        ):  # fmt: skip
            with case(value=value):
                sentence = self.refusal(ConfigServerEndpoint("doc"), value)
                self.assertIn("must be host:port, [::1]:port or a Twisted server endpoint", sentence)
                self.assertIn(f"not {value!r}", sentence)

    def test_port(self) -> None:
        """A port that no address has is refused, in either form."""
        for value in ("127.0.0.1:65536", "[::1]:99999", "tcp:65536", "tcp6:99999:interface=\\:\\:1", "tcp:port=65536"):
            with case(value=value):
                self.assertIn("with a port up to 65535", self.refusal(ConfigServerEndpoint("doc"), value))

    def test_parts_of_an_endpoint(self) -> None:
        """A part that an endpoint does not know, or cannot use, is refused and named."""
        for value, word in (
            ("tcp:8080:interfaces=127.0.0.1", "interfaces"),
            ("unix:/run/turn.sock:mode=rw", "rw"),
            ("ssl:443:privateKey=/no/such/key.pem", "/no/such/key.pem"),
        ):
            with case(value=value, word=word):
                sentence = self.refusal(ConfigServerEndpoint("doc"), value)
                self.assertIn(word, sentence.partition(repr(value))[2])

    def test_number(self) -> None:
        """A port alone, which YAML reads as a number, is refused."""
        self.assertIn("must be host:port", self.refusal(ConfigServerEndpoint("doc"), 8080))


class Application(Config):
    """
    Configuration of an application.
    """

    connector_name = ConfigConnectorName("The connector. More of it.", required=True, aliases=["transport_name"])
    prefetch = ConfigInt("How many at a time.", default=20, minimum=1, aliases=["concurrency", "parallel"])
    url = ConfigUrl("Where.")
    token = ConfigSecret("The token.", required=True)


GOOD = {"connector_name": "demo", "token": "marker"}


class ConfigTests(SynchronousTestCase):
    def errors(self, data: dict[str, Any], config: type[Config] = Application) -> list[str]:
        """All that is wrong."""
        return list(self.assertRaises(ConfigErrors, config, data).errors)

    def test_values(self) -> None:
        """Options are attributes, cleaned; those that are not given have their defaults, or None."""
        config = Application({**GOOD, "prefetch": "5"})
        self.assertEqual((config.connector_name, config.prefetch, config.url), ("demo", 5, None))
        self.assertEqual(Application(GOOD).prefetch, 20)

    def test_given_without_a_value(self) -> None:
        """An option whose value was left empty in the file counts as not given."""
        self.assertEqual(Application({**GOOD, "prefetch": None}).prefetch, 20)
        self.assertEqual(Application({"connector_name": None, "transport_name": "x", "token": "t"}).connector_name, "x")
        self.assertEqual(self.errors({**GOOD, "token": None}), ["token is missing: the token"])

    def test_read_once(self) -> None:
        """The values are those of the moment it was read, and cannot be set."""
        data = dict(GOOD)
        config = Application(data)
        data["connector_name"] = "other"
        self.assertEqual(config.connector_name, "demo")
        self.assertRaises(AttributeError, setattr, config, "connector_name", "other")

    def test_missing(self) -> None:
        """What is missing is named, with the first sentence of what it means."""
        self.assertEqual(self.errors({}), ["connector_name is missing: the connector", "token is missing: the token"])

    def test_all_at_once(self) -> None:
        """All that is wrong is said at once, in one exception."""
        data = {"connector_name": "Demo", "prefetch": 0, "url": "nowhere"}
        errors = self.errors(data)
        self.assertEqual([error.split()[0] for error in errors], ["connector_name", "prefetch", "url", "token"])
        self.assertEqual(str(ConfigErrors(errors)), "; ".join(errors))

    def test_alias(self) -> None:
        """An option may go by another name, or by both if they agree."""
        for data in ({"transport_name": "demo"}, {"transport_name": "demo", "connector_name": "demo"}):
            with case(data=data):
                self.assertEqual(Application({**data, "token": "t"}).connector_name, "demo")
        both = {**GOOD, "prefetch": 5, "concurrency": "5", "parallel": 5.0}
        self.assertEqual(Application(both).prefetch, 5)

    def test_aliases_that_differ(self) -> None:
        """Two names of one option with different values are refused, and both are named."""
        self.assertEqual(
            self.errors({**GOOD, "transport_name": "other"}),
            ["connector_name and transport_name are two names of one option, and their values differ"],
        )
        (error,) = self.errors({**GOOD, "concurrency": 5, "parallel": 6})
        self.assertIn("parallel", error)

    def test_aliases_that_are_wrong(self) -> None:
        """Two names with the same wrong value are one error; with two wrong values they differ as well."""
        self.assertEqual(len(self.errors({**GOOD, "prefetch": "x", "concurrency": "x"})), 1)
        self.assertEqual(len(self.errors({**GOOD, "prefetch": "x", "concurrency": "y"})), 2)

    def test_data_stays(self) -> None:
        """The mapping that was handed in is not changed."""
        data = {"transport_name": "demo", "token": "t", "prefetch": None}
        Application(data)
        self.assertEqual(data, {"transport_name": "demo", "token": "t", "prefetch": None})

    def test_unknown_keys(self) -> None:
        """A key that is no option is found, with the option whose name is nearest, if any is near."""
        data: dict[Any, Any] = {**GOOD, "prefetsh": 1, "transport_nane": "x", "zzz": 1, "concurrency": 5, 7: 8}
        self.assertEqual(
            Application.unknown_keys(data),
            [
                ("prefetsh", "did you mean prefetch?"),
                ("transport_nane", "did you mean transport_name?"),
                ("zzz", ""),
                ("7", ""),
            ],
        )

    def test_known_elsewhere(self) -> None:
        """A key that means something elsewhere, as to a middleware, is not unknown."""
        found = Application.unknown_keys({"my_middleware": {}, "tokn": 1}, ["my_middleware"])
        self.assertEqual(found, [("tokn", "did you mean token?")])

    def test_post_validate(self) -> None:
        """A class may check more, once every option by itself is right; what it finds is said too."""

        class Checked(Application):
            def post_validate(self) -> None:
                raise ConfigErrors([f"{self.connector_name} is taken", "and so on"])

        self.assertEqual(self.errors(GOOD, Checked), ["demo is taken", "and so on"])
        (error,) = self.errors({**GOOD, "prefetch": 0}, Checked)
        self.assertEqual(error, "prefetch must be a whole number, 1 or more, not 0")

    def test_post_validate_with_one_error(self) -> None:
        """A single error of confmodel's own kind will do."""

        class Checked(Application):
            def post_validate(self) -> None:
                self.raise_config_error("is wrong as a whole.")

        (error,) = self.errors(GOOD, Checked)
        self.assertIn("is wrong as a whole", error)

    def test_together(self) -> None:
        """Options that belong together are checked once each of them is right, whatever else is wrong."""

        def check(prefetch: int, url: Any) -> list[str]:
            return [f"prefetch {prefetch} needs a url"] if prefetch > 100 and url is None else []

        class Checked(Application):
            TOGETHER = [(("prefetch", "url"), check)]

        self.assertEqual(Checked(GOOD).prefetch, 20)
        self.assertEqual(
            self.errors({"connector_name": "demo", "prefetch": 101}, Checked),
            ["token is missing: the token", "prefetch 101 needs a url"],
        )
        self.assertEqual(len(self.errors({**GOOD, "prefetch": 101, "url": "x"}, Checked)), 1)

    def test_documentation(self) -> None:
        """The class documents each of its options: type, meaning, and what holds where it is not given."""
        doc = str(Application.__doc__)
        for line in (
            "Configuration of an application.",
            ":param str connector_name:", "Required.",
            ":param int prefetch:", "Default: 20.",
            ":param URL url:",
        ):  # fmt: skip
            with case(line=line):
                self.assertIn(line, doc)
