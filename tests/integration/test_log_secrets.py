"""The log of a whole run, in good days and bad ones, tells ids and no secrets."""

from __future__ import annotations

import json

from tests.integration.bridge_case import BridgeCase
from tests.integration.http_peer import outbound, sign
from tests.integration.rabbitmq import shared_rabbitmq
from tests.integration.turn_server import TurnResponse
from tests.integration.vumi_words import event, inbound, new_id, new_person
from tests.integration.waiting import wait_for
from tests.integration.worker import Worker

CONTENT = "marker-content"
NAME = "marker-name"
AMQP_PASSWORD = "marker-amqp-password"


class LogTests(BridgeCase):
    """What the log of the default level holds, and what not."""

    connector = "log"
    config = {"amqp_prefetch_cout": 20, "middleware": []}

    def run_of_everything(self) -> tuple[list[str], list[str]]:
        """Each flow, and each way for it to fail; the addresses and the ids that took part."""
        people, ids = [], []

        def person() -> str:
            people.append(new_person())
            return people[-1]

        said = self.say(inbound(content=CONTENT, from_addr=person(), helper_metadata={"contact_name": NAME}))
        self.delivered(said)
        for trouble in (
            TurnResponse(400, body=CONTENT.encode()),
            TurnResponse(503),
            TurnResponse(cut=True),
            TurnResponse(429),
        ):
            self.turn.script(trouble)
            message = self.say(inbound(content=CONTENT, from_addr=person()))
            ids.append(message["message_id"])
            wait_for(lambda: self.rig.held("inbound") == 0, "the message to be settled")
        for reply_to in (said["message_id"], None):
            body = outbound(people[0], CONTENT, reply_to=reply_to)
            answer = self.http.post(body)
            self.assertEqual(answer.status, 200, answer.body)
            self.report(event("nack", answer.message_id, nack_reason=CONTENT))
            self.turn.wait_for("statuses", answer.message_id)
        for bad in (
            outbound(person(), CONTENT, reply_to=new_id()),
            {"to": person(), "turn": CONTENT},
            [CONTENT, person()],
        ):
            self.assertIn(self.http.post(bad).status, (400, 404))
        unsigned = json.dumps(outbound(person(), CONTENT)).encode()
        self.assertEqual(self.http.post_bytes(unsigned, "d3Jvbmc=").status, 401)
        self.assertEqual(self.http.post_bytes(CONTENT.encode()).status, 400)
        for queue in ("inbound", "event"):
            junk = {"session_event": CONTENT, "event_type": CONTENT}
            self.peer.publish_json(self.rig.queue(queue), {**inbound(from_addr=person()), **junk})
            self.peer.publish(self.rig.queue(queue), CONTENT.encode())
            wait_for(lambda: self.rig.held(queue) == 0, "the junk to be parked")  # noqa: B023
        return people, ids

    def test_whole_run(self) -> None:
        """Neither secrets nor signatures nor addresses nor content are logged; ids of trouble are."""
        people, ids = self.run_of_everything()
        self.worker.stop()
        log = self.worker.log
        signature = sign(self.http.secret, json.dumps(outbound(people[0], CONTENT)).encode())
        for marker in ("marker-", signature, "d3Jvbmc=", *(address.lstrip("+") for address in people)):
            lines = [line for line in log.splitlines() if marker in line]
            self.assertEqual(lines, [])
        self.assertIn(ids[0], log)  # what was refused
        self.assertNotIn("Traceback", log)
        self.assertNotIn("Unhandled", log)

    def test_unknown_key(self) -> None:
        """An option that nobody knows is a warning that names the nearest one."""
        lines = [line for line in self.worker.log.splitlines() if "amqp_prefetch_cout" in line]
        self.assertEqual(len(lines), 1, self.worker.log)
        self.assertIn("amqp_prefetch_count", lines[0])


class CredentialTests(BridgeCase):
    """What is logged of a broker that does not let us in."""

    connector = "log_amqp"

    def test_wrong_credentials(self) -> None:
        """Wrong credentials or a wrong vhost are one line that says so, without them, and are tried again."""
        for flags, words in (
            (["--password", AMQP_PASSWORD], ("user", "password", "credentials", "login", "refused")),
            (["--amqp-url", self.node.url.replace(":vumi@", f":{AMQP_PASSWORD}@")], ("password", "refused")),
            (["--vhost", "/nowhere"], ("vhost", "/nowhere")),
        ):
            worker = Worker(self.worker.config, shared_rabbitmq().port, flags)
            worker.config["http_bind"] = f"127.0.0.1:{worker.port}"
            try:
                worker.start(wait=False)
                lines = wait_for(
                    lambda: [  # noqa: B023
                        line
                        for line in worker.log.splitlines()  # noqa: B023
                        if "RabbitMQ" in line and any(word in line for word in words)  # noqa: B023
                    ],
                    f"a line about {flags[0]}",
                )
                self.assertEqual(wait_for(worker.health, "the worker to listen"), 503)
                self.assertTrue(worker.running)
                self.assertEqual(len(lines), 1, lines)
                worker.stop()
                self.assertNotIn(AMQP_PASSWORD, worker.log)
                self.assertNotIn("Traceback", worker.log)
            finally:
                worker.close()
