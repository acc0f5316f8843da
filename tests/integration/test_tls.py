"""The real worker over TLS, towards RabbitMQ and towards Turn, with good certificates and bad ones."""

from __future__ import annotations

import shutil
import ssl
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from OpenSSL import SSL
from twisted.internet.ssl import PrivateCertificate
from twisted.trial.unittest import SynchronousTestCase

from tests.http.authority import DAY, NOW, Authority
from tests.integration.amqp_peer import AmqpPeer
from tests.integration.bridge_case import FROM_ADDR, SECRET, TOKEN, BridgeCase
from tests.integration.http_peer import HttpPeer, outbound
from tests.integration.rabbitmq import RabbitMQ
from tests.integration.redis_server import RedisServer
from tests.integration.turn_server import TurnServer
from tests.integration.vumi_words import inbound, new_person
from tests.integration.waiting import wait_for
from tests.integration.worker import Worker

PASSWORD = "p@ss:w/rd #é%25?"
VHOST = "/tls vhost"


def lines_with(worker: Worker, words: str) -> list[str]:
    """The log lines that have these words."""
    return [line for line in worker.log.splitlines() if words in line]


class FolderCase(SynchronousTestCase):
    """A folder for certificates."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(tempfile.mkdtemp(prefix="vumi_turn_tls_"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.authority = Authority()

    def file(self, name: str, content: bytes) -> str:
        """The path of a new file."""
        path = self.folder / name
        path.write_bytes(content)
        return str(path)

    def authority_file(self, authority: Authority) -> str:
        """A file with an authority's certificate."""
        return self.file("authority.pem", authority.pem)


class AmqpsTests(FolderCase):
    """``--amqp-url amqps://…`` to a RabbitMQ that listens with TLS itself."""

    def setUp(self) -> None:
        super().setUp()
        self.node = RabbitMQ(tls=True)
        self.addCleanup(self.node.close)
        self.turn = TurnServer(TOKEN)
        self.addCleanup(self.turn.close)

    def worker(self, *flags: str) -> Worker:
        """A worker that speaks to the TLS port, with a login full of special characters."""
        url = (
            f"amqps://{quote('us er', safe='')}:{quote(PASSWORD, safe='')}"
            f"@localhost:{self.node.tls_port}/{quote(VHOST, safe='')}"
        )
        config = {
            "connector_name": "tls",
            "turn_api_url": self.turn.url,
            "auth_token": TOKEN,
            "turn_hmac_secret": SECRET,
            "default_from_addr": FROM_ADDR,
        }
        worker = Worker(config, self.node.port, ["--amqp-url", url, *flags])
        self.addCleanup(worker.close)
        return worker

    def let_in(self) -> None:
        """The user and vhost of the worker's URL."""
        self.node.ctl("add_vhost", VHOST)
        self.node.ctl("add_user", "us er", PASSWORD)
        for user in ("us er", "vumi"):
            self.node.ctl("set_permissions", "-p", VHOST, user, ".*", ".*", ".*")

    def test_amqps(self) -> None:
        """
        A certificate for another host is refused, named in one line and tried
        again: with the right one messages go both ways. An authority that is
        not in the CA file is refused as well.
        """
        self.node.use_certificate(self.authority.pem, self.authority.issue("elsewhere.example"))
        self.node.start()
        self.let_in()
        worker = self.worker("--amqp-ca-file", self.authority_file(self.authority))
        worker.start(wait=False)
        wait_for(lambda: lines_with(worker, "another host name"), "the refusal")
        self.assertEqual(wait_for(worker.health, "the worker to listen"), 503)
        self.node.stop()
        self.node.use_certificate(self.authority.pem, self.authority.issue("localhost"))
        self.node.start()
        worker.wait_until_healthy()
        self.carries(worker)
        (line,) = lines_with(worker, "another host name")
        self.assertIn(f"localhost:{self.node.tls_port}", line)
        worker.stop()
        self.assertNotIn("Traceback", worker.log)
        self.assertNotIn(PASSWORD, worker.log)
        self.assertNotIn(quote(PASSWORD, safe=""), worker.log)
        for flags in (("--amqp-ca-file", self.authority_file(Authority("stranger"))), ()):
            stranger = self.worker(*flags)
            stranger.start(wait=False)
            wait_for(lambda: lines_with(stranger, "not trusted here"), "the refusal")  # noqa: B023
            stranger.stop()

    def carries(self, worker: Worker) -> None:
        """Messages go both ways, and over TLS."""
        peer = AmqpPeer(self.node.port, VHOST)
        self.addCleanup(peer.close)
        message = inbound()
        peer.publish_json("tls.inbound", message)
        self.turn.wait_for("messages", message["message_id"])
        answer = HttpPeer(worker.port, SECRET).post(outbound(new_person()))
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(peer.take_json("tls.outbound")["message_id"], answer.message_id)
        connections = self.node.ctl("list_connections", "--no-table-headers", "user", "ssl", "vhost")
        ours = [line.split("\t") for line in connections.splitlines() if line.startswith("us er")]
        self.assertEqual(ours, [["us er", "true", VHOST]] * 2)


class RedissTests(FolderCase, BridgeCase):
    """A message cache at ``rediss://``."""

    connector = "rediss"

    def test_rediss(self) -> None:
        """A certificate for another host is refused and named; with the right one the cache is used."""
        redis = RedisServer("p@ss:w/rd", tls=True)
        self.addCleanup(redis.stop)
        redis.use_certificate(self.authority.pem, self.authority.issue("elsewhere.example"))
        redis.start()
        url = redis.url.replace(redis.password, quote(redis.password, safe=""))
        config = {"message_cache_class": "RedisMessageCache", "message_cache_config": {"url": url}}
        variables = {"SSL_CERT_FILE": self.authority_file(self.authority)}
        with self.running(config, variables=variables) as worker:
            (line,) = wait_for(lambda: lines_with(worker, "another host name"), "the refusal")
            self.assertIn("Redis at localhost", line)
            self.assertEqual(self.cache_of(worker), "degraded")
            redis.kill()
            redis.use_certificate(self.authority.pem, self.authority.issue("localhost"))
            redis.start()
            wait_for(lambda: self.cache_of(worker) == "ok", "the cache")
            self.carries(worker)
            self.assertNotIn(redis.password, worker.log)

    def cache_of(self, worker: Worker) -> str:
        """What ``/health`` says of the cache."""
        component: str = HttpPeer(worker.port, "").get("/health").json["components"]["cache"]["health"]
        return component


class HttpsTests(FolderCase, BridgeCase):
    """``turn_api_url`` with https."""

    connector = "https"

    def context(self, certificate: PrivateCertificate) -> ssl.SSLContext:
        """For a server with this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        key = certificate.privateKey.dump(SSL.FILETYPE_PEM)
        context.load_cert_chain(self.file("server.pem", certificate.dump(SSL.FILETYPE_PEM) + key))
        return context

    def server(self, certificate: PrivateCertificate) -> TurnServer:
        """A Turn with this certificate."""
        turn = TurnServer(TOKEN, self.context(certificate))
        self.addCleanup(turn.close)
        return turn

    def variables(self) -> dict[str, str]:
        """The environment of a worker on a system that trusts the authority, and no other."""
        return {"SSL_CERT_FILE": self.authority_file(self.authority)}

    def test_trusted(self) -> None:
        """A certificate of an authority in ``SSL_CERT_FILE`` is accepted; connections are used again."""
        turn = self.server(self.authority.issue("127.0.0.1"))
        with self.running({"turn_api_url": turn.url}, variables=self.variables()):
            for _ in range(3):
                message = self.say(inbound())
                turn.wait_for("messages", message["message_id"])

    def test_wrong_certificates(self) -> None:
        """
        A certificate that is expired, for another host, or of an authority
        that the system does not trust is refused and named. What was said
        meanwhile is held, and goes to Turn once the certificate is right.
        """
        wrong: dict[str, Any] = {
            "the certificate has expired": self.authority.issue("127.0.0.1", NOW - 2 * DAY, NOW - DAY),
            "the certificate is for another host name": self.authority.issue("elsewhere.example"),
            "the certificate's issuer is not trusted here": Authority("stranger").issue("127.0.0.1"),
            "the certificate is self-signed": self.authority.issue("127.0.0.1", self_signed=True),
        }
        for words, certificate in wrong.items():
            with self.case(words):
                self.correct_later(words, certificate)

    def correct_later(self, words: str, certificate: PrivateCertificate) -> None:
        """One wrong certificate, and the right one after it."""
        turn = self.server(certificate)
        with self.running({"turn_api_url": turn.url}, variables=self.variables()) as worker:
            message = self.say(inbound())
            wait_for(lambda: lines_with(worker, words), "the refusal")
            report = HttpPeer(worker.port, SECRET).get("/health").json
            self.assertEqual((report["health"], report["components"]["turn"]["state"]), ("degraded", "away"))
            self.assertEqual(turn.requests, [])
            self.assertEqual(self.rig.held("inbound"), 1)
            turn.refuse()
            turn.context = self.context(self.authority.issue("127.0.0.1"))
            turn.listen()
            turn.wait_for("messages", message["message_id"])
            self.assertEqual(len(turn.requests), 1)
            self.assertEqual(len(lines_with(worker, words)), 1, worker.log)
        self.assertEqual(self.rig.held("inbound"), 0)
