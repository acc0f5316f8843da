"""The worker's options: which there are, what they are where they are not given, and what is refused."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.caches import MessageCache
from vumi_turn.caches.memory import MemoryMessageCache
from vumi_turn.caches.redis import RedisMessageCache
from vumi_turn.channel.config import TurnChannelsApiConfig
from vumi_turn.configuration.fields import ConfigErrors

#: The options that have to be given.
REQUIRED: dict[str, Any] = {
    "connector_name": "ussd_8864",
    "http_bind": "127.0.0.1:8001",
    "turn_api_url": "https://whatsapp.turn.io/v1/numbers/0f0f",
    "default_from_addr": "8864",
    "auth_token": "marker-auth-token",
    "turn_hmac_secret": "marker-hmac-secret",
}

#: What the others are where they are not given.
DEFAULTS: dict[str, Any] = {
    "vumi_api_path": "",
    "request_timeout": 240.0,
    "publish_timeout": 4.0,
    "mo_message_url_timeout": 10.0,
    "event_url_timeout": 10.0,
    "transport_type": "sms",
    "message_cache_class": MemoryMessageCache,
    "message_cache_config": {},
    "max_retries": 3,
    "retry_delay_exponent": 2.0,
    "retry_delay_base": 2.0,
    "amqp_prefetch_count": 20,
    "max_message_age": None,
    "max_deliveries": 15,
    "management_bind": None,
    "management_password": None,
    "management_content": False,
    "management_hosts": [],
    "trace_key": None,
    "send_to": {},
    "empty_message_body": None,
    "max_request_size": 262144,
    "repeat_window": 5.0,
    "answer_as": "text",
    "screen_size": 160,
    "page_next_key": "98",
    "page_next_label": "More",
    "page_back_key": None,
    "page_back_label": "Back",
    "join_window": 1.0,
    "standby": False,
    "shutdown_timeout": 10.0,
    "worker_name": None,
    "middleware": [],
}

#: For each option values that are good, and how they are read.
GOOD: dict[str, tuple[tuple[Any, Any], ...]] = {
    "connector_name": (("turn.sms-1", "turn.sms-1"),),
    "http_bind": (("[::1]:80", "tcp6:80:interface=\\:\\:1"), ("unix:/run/turn.sock", "unix:/run/turn.sock")),
    "vumi_api_path": (("/turn", "/turn"), ("", "")),
    "turn_api_url": (("http://127.0.0.1:9/", "http://127.0.0.1:9"),),
    "request_timeout": ((0.5, 0.5), ("60", 60.0)),
    "publish_timeout": ((1, 1.0),),
    "mo_message_url_timeout": ((2.5, 2.5),),
    "event_url_timeout": ((2.5, 2.5),),
    "message_cache_class": (
        ("MemoryMessageCache", MemoryMessageCache),
        ("RedisMessageCache", RedisMessageCache),
        ("vumi_turn.RedisMessageCache", RedisMessageCache),
    ),
    "max_retries": ((0, 0), ("7", 7)),
    "retry_delay_exponent": ((0, 0.0), (1.5, 1.5)),
    "retry_delay_base": ((0.1, 0.1),),
    "amqp_prefetch_count": ((1, 1), (65535, 65535)),
    "max_message_age": ((90, 90.0),),
    "max_deliveries": ((1, 1), ("4", 4)),
    "management_bind": ((":9000", "tcp:9000"),),
    "management_password": (("p", "p"),),
    "management_content": ((True, True),),
    "management_hosts": ((["Page.example.org"], ["page.example.org"]),),
    "trace_key": (("k", "k"),),
    "max_request_size": ((1024, 1024),),
    "repeat_window": ((0, 0.0), ("2.5", 2.5)),
    "answer_as": (("interactive", "interactive"),),
    "screen_size": ((0, 0), ("182", 182)),
    "page_next_key": (("#", "#"),),
    "page_next_label": (("Go on", "Go on"),),
    "page_back_key": (("0", "0"),),
    "page_back_label": (("Up", "Up"),),
    "join_window": ((0, 0.0), ("1.5", 1.5)),
    "standby": ((True, True), ("yes", True)),
    "shutdown_timeout": ((0, 0.0),),
}

#: For each option values that are wrong, and words of what is expected.
WRONG: dict[str, tuple[tuple[Any, str], ...]] = {
    "connector_name": ((7, "in quotes"), ("USSD", "lower case"), ("a b", "no spaces"), ("", "must not be empty")),
    "http_bind": ((8001, "host:port"), ("8001", "host:port"), ("tcp:99999", "65535")),
    "vumi_api_path": (("turn", "starts with a slash"), (["/turn"], "a text")),
    "turn_api_url": (("whatsapp.turn.io", "an http(s) URL"), ("https://u:p@h", "user name"), ("", "must not be empty")),
    "default_from_addr": ((8864, "in quotes"), ("", "must not be empty")),
    "auth_token": (
        (12345, "a text"),
        ("", "must not be empty"),
        ("a\nb", "one line"),
        ("a b", "space"),
        ("é", "ASCII"),
    ),
    "turn_hmac_secret": ((12345, "a text"), ("", "must not be empty"), ("a\nb", "one line")),
    "request_timeout": ((0, "greater than 0"), ("soon", "a number")),
    "publish_timeout": ((0, "greater than 0"),),
    "mo_message_url_timeout": ((-1, "greater than 0"),),
    "event_url_timeout": ((0, "greater than 0"),),
    "transport_type": (([], "a text"),),
    "message_cache_class": (("NoSuchCache", "cannot be imported"), ("decimal.Decimal", "must be a message cache")),
    "message_cache_config": (("redis", "a mapping"),),
    "max_retries": ((-1, "0 or more"), (1.5, "a whole number")),
    "retry_delay_exponent": ((-0.1, "0 or more"),),
    "retry_delay_base": ((0, "greater than 0"),),
    "amqp_prefetch_count": ((0, "1 or more"), (65536, "65535 or less")),
    "max_message_age": ((0, "greater than 0"), (False, "a number")),
    "max_deliveries": ((0, "1 or more"), (1.5, "a whole number")),
    "management_bind": (("nowhere", "host:port"),),
    "management_password": ((12345, "a text"),),
    "management_content": (("perhaps", "true or false"),),
    "management_hosts": ((["page.example.org:80"], "without scheme, port and path"),),
    "trace_key": ((12345, "a text"),),
    "send_to": (([], "a mapping"),),
    "empty_message_body": ((0, "in quotes"),),
    "max_request_size": ((1023, "1024 or more"), (2**26 + 1, "67108864 or less")),
    "repeat_window": ((-1, "0 or more"),),
    "answer_as": (("button", "text or interactive"), (["text"], "text or interactive")),
    "screen_size": ((-1, "0 or more"), (39, "at least 40"), ("large", "a whole number")),
    "page_next_key": (([1], "a text"), ("", "a person can type")),
    "page_next_label": (([1], "a text"), (" More", "at its beginning")),
    "page_back_key": (([1], "a text"), ("", "a person can type")),
    "page_back_label": (([1], "a text"),),
    "join_window": ((-1, "0 or more"), ("soon", "a number")),
    "standby": (("perhaps", "true or false"),),
    "shutdown_timeout": ((-1, "0 or more"),),
    "worker_name": ((1, "in quotes"),),
    "middleware": (({}, "a list"),),
}


def config(**options: Any) -> TurnChannelsApiConfig:
    """A config with what has to be given, and these."""
    return TurnChannelsApiConfig({**REQUIRED, **options})


class ConfigCase(SynchronousTestCase):
    def errors(self, data: dict[str, Any]) -> list[str]:
        """All that is wrong."""
        return list(self.assertRaises(ConfigErrors, TurnChannelsApiConfig, data).errors)


class OptionTests(ConfigCase):
    def test_names(self) -> None:
        """There are these options, and the two other names."""
        self.assertEqual(
            TurnChannelsApiConfig.known_names(), {*REQUIRED, *DEFAULTS, "transport_name", "worker_concurrency"}
        )

    def test_defaults(self) -> None:
        """Each option that may be left out has its default, also where its value was left empty in the file."""
        for found in (config(), config(**dict.fromkeys(DEFAULTS))):
            self.assertEqual({name: getattr(found, name) for name in DEFAULTS}, DEFAULTS)

    def test_required(self) -> None:
        """Each option that has to be given is missed, with what it means, and all of them at once."""
        for name in REQUIRED:
            (error,) = self.errors({key: value for key, value in REQUIRED.items() if key != name})
            self.assertTrue(error.startswith(f"{name} is missing: "), error)
        self.assertEqual([error.split()[0] for error in self.errors({})], list(REQUIRED))

    def test_good(self) -> None:
        """Each option takes what is good for it."""
        for name, values in GOOD.items():
            for value, meant in values:
                more = {"message_cache_config": {"url": "redis://h"}} if "Redis" in str(value) else {}
                self.assertEqual(getattr(config(**{name: value}, **more), name), meant, (name, value))

    def test_wrong(self) -> None:
        """Each option refuses what is not, in one sentence that names it and says what is expected."""
        self.assertEqual(set(WRONG), {*REQUIRED, *DEFAULTS})
        for name, values in WRONG.items():
            for value, expected in values:
                (error,) = self.errors({**REQUIRED, name: value})
                self.assertTrue(error.startswith(f"{name} "), error)
                self.assertIn(expected, error)

    def test_all_wrong(self) -> None:
        """All that is wrong is said at once."""
        errors = self.errors({**REQUIRED, **{name: values[0][0] for name, values in WRONG.items()}})
        self.assertEqual({error.split()[0] for error in errors}, set(WRONG))

    def test_other_names(self) -> None:
        """Legacy vumi's and vumi2's names of two options are taken."""
        data = {key: value for key, value in REQUIRED.items() if key != "connector_name"}
        found = TurnChannelsApiConfig({**data, "transport_name": "ussd", "worker_concurrency": 7})
        self.assertEqual((found.connector_name, found.amqp_prefetch_count), ("ussd", 7))

    def test_secrets(self) -> None:
        """The secrets are not shown where the config is, nor where they are wrong."""
        found = config()
        self.assertEqual((found.masked()["auth_token"], found.masked()["turn_hmac_secret"]), ("***", "***"))
        self.assertNotIn("marker", repr(found))
        for name in ("auth_token", "turn_hmac_secret"):
            for value in (["marker"], "mar\nmarker", {"marker": 1}):
                self.assertNotIn("marker", str(self.errors({**REQUIRED, name: value})))

    def test_cache_options_may_be_secrets(self) -> None:
        """The URL of a Redis holds a password: it is shown neither in a config nor in an error."""
        options = {"message_cache_class": "RedisMessageCache", "message_cache_config": {"url": "redis://:marker@h"}}
        self.assertEqual(config(**options).masked()["message_cache_config"], {"url": "***"})
        for wrong in ("redis://:marker@h", ["redis://:marker@h"]):
            errors = self.errors({**REQUIRED, "message_cache_config": wrong})
            self.assertEqual(errors, ["message_cache_config must be a mapping, not ***"])


class CacheConfigTests(ConfigCase):
    """``message_cache_class`` and ``message_cache_config`` are checked together."""

    def test_good(self) -> None:
        """The options of the cache that was chosen are good."""
        options = {"timeout": 60, "outbound_timeout": "120", "max_messages": 5}
        self.assertEqual(config(message_cache_config=options).message_cache_config, options)
        redis = {"url": "redis://127.0.0.1:6379/1", "key_prefix": "x:"}
        found = config(message_cache_class="RedisMessageCache", message_cache_config=redis)
        self.assertEqual(found.message_cache_config, redis)

    def test_wrong(self) -> None:
        """Each wrong option of the cache is one sentence that names it with its place."""
        self.assertEqual(
            self.errors({**REQUIRED, "message_cache_config": {"timeout": 0, "max_mesages": 5, "max_messages": "many"}}),
            [
                "message_cache_config.timeout must be a number greater than 0, not 0",
                "message_cache_config.max_messages must be a whole number, not 'many'",
                "message_cache_config.max_mesages is not an option of this cache; did you mean max_messages?",
            ],
        )

    def test_bounds(self) -> None:
        """A cache of no messages, no time, or a prefix that is no text is refused."""
        for cache, options, expected in (
            ("MemoryMessageCache", {"max_messages": 0}, "max_messages must be a whole number, 1 or more, not 0"),
            ("MemoryMessageCache", {"timeout": "inf"}, "timeout must be a number, not 'inf'"),
            ("MemoryMessageCache", {"timeout": True}, "timeout must be a number, not True"),
            (
                "RedisMessageCache",
                {"url": "redis://h", "key_prefix": 5},
                "key_prefix must be a text (put it in quotes), not 5",
            ),
        ):
            (error,) = self.errors({**REQUIRED, "message_cache_class": cache, "message_cache_config": options})
            self.assertIn(f"message_cache_config.{expected}", error)

    def test_redis(self) -> None:
        """Redis needs its URL, which may hold a password and is not shown."""
        (error,) = self.errors({**REQUIRED, "message_cache_class": "RedisMessageCache"})
        self.assertTrue(error.startswith("message_cache_config.url is missing: "), error)
        for url in ("redis://u:marker@h:99999", "http://u:marker@h", 7):
            (error,) = self.errors(
                {**REQUIRED, "message_cache_class": "RedisMessageCache", "message_cache_config": {"url": url}}
            )
            self.assertIn("message_cache_config.url must", error)
            self.assertNotIn("marker", error)

    def test_beside_others(self) -> None:
        """They are checked also where another option is wrong or missing, and left where one of the two is."""
        errors = self.errors({"message_cache_config": {"timeout": 0}})
        self.assertEqual([error.split()[0] for error in errors], [*REQUIRED, "message_cache_config.timeout"])
        (error,) = self.errors({**REQUIRED, "message_cache_class": "Nothing", "message_cache_config": {"timeout": 0}})
        self.assertIn("'Nothing'", error)

    def test_own_cache(self) -> None:
        """A cache of one's own is asked about its options by itself."""

        class OwnCache(MemoryMessageCache):
            @classmethod
            def check_config(cls, config: Any) -> list[str]:
                return [f"message_cache_config.size {config['size']} is too much"]

        self.assertTrue(issubclass(OwnCache, MessageCache))
        self.assertEqual(
            self.errors({**REQUIRED, "message_cache_class": OwnCache, "message_cache_config": {"size": 5}}),
            ["message_cache_config.size 5 is too much"],
        )
