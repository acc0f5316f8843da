"""Where a broker is and how to log in there."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from tests.http.resolving import ResolvingReactor
from vumi_turn.broker.amqp import AmqpBroker, ConnectionParameters
from vumi_turn.broker.amqp.heartbeat_monitor import HeartbeatMonitor
from vumi_turn.broker.amqp.transport import is_tls_failure, make_endpoint
from vumi_turn.http.tls import CertificateRefused
from vumi_turn.timing.backoff import RECONNECT_FIRST, RECONNECT_LONGEST, Backoff


class ParameterTests(SynchronousTestCase):
    """:class:`ConnectionParameters`."""

    def test_defaults(self) -> None:
        """The defaults are legacy vumi's."""
        p = ConnectionParameters()
        self.assertEqual(
            (p.hostname, p.port, p.username, p.password, p.vhost, p.heartbeat, p.tls, p.ca_file),
            ("127.0.0.1", 5672, "vumi", "vumi", "/develop", 30.0, False, None),
        )

    def test_secret(self) -> None:
        """The password shows in no representation, and nothing can be changed."""
        p = ConnectionParameters(password="s3cret")
        self.assertNotIn("s3cret", repr(p))
        self.assertNotIn("s3cret", str(p))
        with self.assertRaises(FrozenInstanceError):
            p.password = "other"  # type: ignore[misc]

    def test_url(self) -> None:
        """Everything in a URL is read, and percent-decoded."""
        p = ConnectionParameters.from_url("amqps://us%3Aer:p%40ss@rabbit.example.org:5999/%2Fdevelop")
        self.assertEqual(
            (p.hostname, p.port, p.username, p.password, p.vhost, p.tls),
            ("rabbit.example.org", 5999, "us:er", "p@ss", "/develop", True),
        )

    def test_what_a_url_leaves_out(self) -> None:
        """What a URL leaves out keeps its default; the port is the scheme's."""
        p = ConnectionParameters.from_url("amqp://host")
        self.assertEqual(p, ConnectionParameters(hostname="host"))
        self.assertEqual(ConnectionParameters.from_url("amqps://host").port, 5671)
        self.assertEqual(ConnectionParameters.from_url("amqp://host/").vhost, "/develop")

    def test_vhosts(self) -> None:
        """A vhost's leading slash is written %2F, or twice."""
        for path, vhost in (
            ("/develop", "develop"),
            ("/%2Fdevelop", "/develop"),
            ("//develop", "/develop"),
            ("/%2F", "/"),
            ("/a%20b", "a b"),
        ):
            with case(path=path, vhost=vhost):
                self.assertEqual(ConnectionParameters.from_url("amqp://host" + path).vhost, vhost)

    def test_ipv6(self) -> None:
        """An IPv6 address is read without its brackets, and shown with them."""
        p = ConnectionParameters.from_url("amqp://[::1]:5673/x")
        self.assertEqual((p.hostname, p.port, p.address), ("::1", 5673, "[::1]:5673"))

    def test_overrides(self) -> None:
        """What is given beside the URL wins over it."""
        p = ConnectionParameters.from_url("amqp://u:p@host", username="other", heartbeat=0)
        self.assertEqual((p.username, p.password, p.heartbeat), ("other", "p", 0))

    def test_wrong_urls(self) -> None:
        """A URL that cannot be used is a sentence that does not hold the password."""
        for url in (
            "http://u:s3cret@host",
            "amqp://",
            "u:s3cret@host",
            "amqp://u:s3cret@host:port/x",
            "amqp://u:s3cret@/x",
            "amqp://u:s3cret@host:99999/",
            "amqp://u:s3cret@[::1/x",
            "amqp://u:s3cret@host/x?heartbeat=5",
            "amqp://u:s3cret@host/x#y",
            "amqp://u:s3cret@host:0/",
            "amqp://u:s3/cret@host/x",
            "amqp://u:p#s3cret@host",
        ):
            with case(url=url):
                error = self.assertRaises(ValueError, ConnectionParameters.from_url, url)
                self.assertNotIn("cret", str(error))
                self.assertIn("AMQP URL", str(error))

    def test_ca_file(self) -> None:
        """A CA file that cannot be used is an error at once, with its name."""
        missing, empty = self.mktemp(), self.mktemp()
        with open(empty, "w") as file:
            file.write("nothing")
        for path in (missing, empty):
            with case(path=path):
                error = self.assertRaises(ValueError, AmqpBroker, ConnectionParameters(tls=True, ca_file=path), Clock())
                self.assertIn(path, str(error))

    def connecting(self, hostname: str, tls: bool = False) -> list[str]:
        """The hosts that are connected to; the reactor's names are all of this machine."""
        reactor = ResolvingReactor()
        make_endpoint(ConnectionParameters(hostname, 5999, tls=tls), reactor).connect(Factory())
        self.assertEqual({client[1] for client in reactor.tcpClients}, {5999})
        return [client[0] for client in reactor.tcpClients]

    def test_hosts(self) -> None:
        """Names of any letters and addresses of both kinds can be connected to, with TLS and without."""
        for host in ("rabbit.example", "žlutý.example", "192.0.2.7", "2001:db8::7"):
            with case(host=host):
                for tls in (False, True):
                    with case(tls=tls):
                        self.assertEqual(len(self.connecting(host, tls)), 1)

    def test_underscores(self) -> None:
        """A name with underscores, as services have in Docker's networks, can be connected to."""
        self.assertEqual(self.connecting("rabbit_mq"), ["rabbit_mq"])

    def test_no_host_of_a_certificate(self) -> None:
        """With TLS a name that no certificate can be for is an error at once."""
        for host in ("rabbit_mq", "-a", "a..b", "x" * 64):
            with case(host=host):
                error = self.assertRaises(ValueError, self.connecting, host, tls=True)
                self.assertEqual(str(error), f"no certificate can be for the AMQP host {host!r}")

    def test_tls_trouble(self) -> None:
        """TLS failures are told from others by their class."""
        from OpenSSL.SSL import Error

        self.assertTrue(is_tls_failure(Error([("SSL routines", "", "certificate verify failed")])))
        self.assertTrue(is_tls_failure(CertificateRefused("the certificate has expired")))
        self.assertFalse(is_tls_failure(OSError("certificate")))


class BackoffTests(SynchronousTestCase):
    """:class:`Backoff`."""

    def test_waits(self) -> None:
        """At once, then 0.5 s doubling to 5 s; from the beginning after a success."""
        backoff = Backoff(RECONNECT_FIRST, RECONNECT_LONGEST, at_once=True)
        self.assertEqual([backoff.next() for _ in range(8)], [0, 0.5, 1, 2, 4, 5, 5, 5])
        for _ in range(2000):
            backoff.next()
        self.assertEqual(backoff.next(), 5)
        backoff.reset()
        self.assertEqual([backoff.next(), backoff.next()], [0, 0.5])


class PulseTests(SynchronousTestCase):
    """:class:`HeartbeatMonitor`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.said: list[float] = []
        self.dead: list[float] = []
        self.monitor = HeartbeatMonitor(
            self.clock,
            10,
            lambda: self.said.append(self.clock.seconds()),
            lambda: self.dead.append(self.clock.seconds()),
        )

    def test_beats(self) -> None:
        """A sign of life twice in each interval, as long as the other side gives some."""
        for _ in range(10):
            self.monitor.heard()
            self.clock.advance(5)
        self.assertEqual(len(self.said), 10)
        self.assertEqual(self.dead, [])

    def test_dead(self) -> None:
        """Nothing for two intervals, and it is said once."""
        self.clock.pump([5] * 20)
        self.assertEqual(len(self.dead), 1)
        self.assertLessEqual(self.dead[0], 25)
        self.assertGreater(self.dead[0], 20)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop(self) -> None:
        """Stopped, it leaves no timer, also when stopped twice or after the end."""
        self.monitor.stop()
        self.monitor.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(100)
        self.assertEqual((self.said, self.dead), ([], []))
