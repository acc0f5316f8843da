"""The samples in ``etc`` for several channels and several workers load, and agree with each other."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any, Iterator

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.channel.config import TurnChannelsApiConfig
from vumi_turn.channel.fleet_config import TurnChannelsConfig, channel_specs
from vumi_turn.configuration.files import load_yaml

ETC = Path(__file__).parent.parent / "etc"

#: The secrets that channels.yaml names.
SECRETS = {
    f"{channel}_{what}": f"{channel}-{what}"
    for channel in ("USSD_LESOTHO", "SMS_LESOTHO")
    for what in ("TOKEN", "SECRET")
}

WORKERS = ("worker_a", "worker_b")


def fleet(name: str, **variables: str) -> dict[str, Any]:
    """A worker's file, as the worker reads it."""
    return load_yaml(str(ETC / f"{name}.yaml"), environ={**SECRETS, **variables})


def port_of(endpoint: str) -> int:
    """The port of ``host:port``, or of an endpoint as the config has it."""
    found = re.search(r"^tcp:(\d+)|:(\d+)$", endpoint)
    assert found is not None, endpoint
    return int(found[1] or found[2])


class ChannelsTests(SynchronousTestCase):
    """``channels.yaml`` and the two workers' files."""

    def test_channels(self) -> None:
        """Each file is right, without an option that is not known; its channels have secrets of their own."""
        for name in ("channels", *WORKERS):
            with case(name=name):
                data = fleet(name, REDIS_URL="redis://redis.example:6379/1")
                TurnChannelsConfig(data)
                self.assertEqual(TurnChannelsConfig.unknown_keys(data), [])
                specs, errors = channel_specs(data)
                self.assertEqual((errors, [spec.name for spec in specs]), ([], ["ussd_lesotho", "sms_lesotho"]))
                for spec in specs:
                    self.assertEqual(TurnChannelsApiConfig.unknown_keys(spec.options), [])
                configs = [TurnChannelsApiConfig(spec.options) for spec in specs]
                self.assertEqual(
                    {config.auth_token for config in configs} | {config.turn_hmac_secret for config in configs},
                    set(SECRETS.values()),
                )
                self.assertEqual(
                    {config.message_cache_config["url"] for config in configs}, {"redis://redis.example:6379/1"}
                )

    def test_workers(self) -> None:
        """The two differ in where they listen only, and stand by for each other."""
        first, second = (fleet(name) for name in WORKERS)
        differing = {key for key in first if first[key] != second[key]}
        self.assertEqual(differing, {"http_bind", "management_bind"})
        self.assertEqual((first["standby"], second["standby"]), (True, True))
        self.assertEqual({**first, **second, "standby": None}.keys(), {*fleet("channels"), "standby"})

    def test_balancer(self) -> None:
        """The balancer passes POSTs on to both, and to the other one what one does not take."""
        text = re.sub(r"#.*", "", (ETC / "nginx.conf").read_text())
        servers = [int(port) for port in re.findall(r"server 127\.0\.0\.1:(\d+)", text)]
        self.assertEqual(servers, [port_of(fleet(name)["http_bind"]) for name in WORKERS])
        (listens,) = re.findall(r"listen 127\.0\.0\.1:(\d+);", text)
        self.assertEqual(int(listens), port_of(fleet("channels")["http_bind"]))
        (passed_on,) = re.findall(r"proxy_next_upstream ([^;]+);", text)
        self.assertLessEqual({"error", "timeout", "http_503", "non_idempotent"}, set(passed_on.split()))
        (size,) = re.findall(r"client_max_body_size (\d+)k;", text)
        self.assertEqual(int(size) * 1024, TurnChannelsConfig._fields["max_request_size"].default)


class SupervisorTests(SynchronousTestCase):
    """``supervisord_workers.conf``."""

    def test_programs(self) -> None:
        """The programs of its group run the two workers, and differ in nothing else."""
        parser = configparser.RawConfigParser(inline_comment_prefixes=(" ;",))
        parser.read(ETC / "supervisord_workers.conf")
        self.assertEqual(parser["group:vumi_turn"]["programs"].split(", "), list(WORKERS))
        found = []
        for name in WORKERS:
            program = dict(parser[f"program:{name}"])
            self.assertIn(f"--config %(here)s/{name}.yaml\n", program["command"])
            self.assertIn("--worker-class vumi_turn.TurnChannels\n", program["command"])
            found.append({key: value.replace(name, "worker") for key, value in program.items()})
        self.assertEqual(found[0], found[1])
        single = configparser.RawConfigParser(inline_comment_prefixes=(" ;",))
        single.read(ETC / "supervisord.conf")
        for option in ("stopsignal", "stopwaitsecs", "autorestart", "startsecs"):
            self.assertEqual(found[0][option], single["program:turn_channels"][option])


class SystemdTests(SynchronousTestCase):
    """``vumi_turn@.service`` and ``vumi_turn.socket``."""

    def settings(self, name: str) -> list[tuple[str, str]]:
        """A unit's settings, in order."""
        text = (ETC / name).read_text().replace("\\\n", " ")
        return re.findall(r"^([A-Za-z]+)=(.*)$", text, re.MULTILINE)

    def test_template(self) -> None:
        """The template is the unit of one worker, but for the file that it reads; both are reloaded by SIGHUP."""
        template, single = dict(self.settings("vumi_turn@.service")), dict(self.settings("vumi_turn.service"))
        differing = {key for key in {*template, *single} if template.get(key) != single.get(key)}
        self.assertEqual(differing, {"Description", "ExecStart"})
        self.assertIn("--config /etc/vumi_turn/worker_%i.yaml", template["ExecStart"])
        self.assertIn("--worker-class vumi_turn.TurnChannels ", template["ExecStart"])
        self.assertEqual(template["ExecReload"], "/bin/kill -HUP $MAINPID")
        for name in WORKERS:
            self.assertTrue((ETC / f"{name}.yaml").exists())

    def test_socket(self) -> None:
        """The socket is handed to the template's workers by the name that their http_bind has to say."""
        unit = dict(self.settings("vumi_turn.socket"))
        self.assertEqual(self.settings("vumi_turn_socket.conf"), [("Sockets", "vumi_turn.socket")])
        self.assertEqual(unit["Service"], "vumi_turn@a.service")
        self.assertEqual(port_of(unit["ListenStream"]), port_of(fleet("channels")["http_bind"]))
        (said,) = re.findall(r'^# In .*: http_bind: "(.*)"$', (ETC / "vumi_turn.socket").read_text(), re.MULTILINE)
        self.assertEqual(said, f"systemd:domain=INET:name={unit['FileDescriptorName']}")
        data = {**fleet("worker_a"), "http_bind": said}
        self.assertEqual(TurnChannelsConfig(data).http_bind, said)


class ContainerTests(SynchronousTestCase):
    """``Dockerfile``, ``docker-compose.yaml`` and ``kubernetes.yaml``."""

    def understood(self) -> set[str]:
        """The variables that the image's start script, its settings and channels.yaml read."""
        read = set(re.findall(r"!env \[?([A-Z_]+)", (ETC / "docker-amqp.yaml").read_text()))
        read |= set(re.findall(r"!env \[?([A-Z_]+)", (ETC / "channels.yaml").read_text()))
        read |= set(re.findall(r"\$\{?([A-Z_]+)", (ETC / "docker-entrypoint.sh").read_text()))
        read |= set(re.findall(r"environ\['([A-Z_]+)'\]", (ETC / "Dockerfile").read_text()))
        return read

    def check(self, environment: dict[str, str], ports: dict[str, int]) -> None:
        """What a container is given is understood, and makes a worker that stands by and listens at these ports."""
        options = {name.removeprefix("VUMI_OPT_").lower(): v for name, v in environment.items() if "VUMI_OPT_" in name}
        unknown = {name for name in environment if "VUMI_OPT_" not in name} - self.understood()
        self.assertEqual(unknown, set())
        self.assertEqual(environment["WORKER_CLASS"], "vumi_turn.TurnChannels")
        self.assertEqual(environment["CONFIG_FILE"], "/config/channels.yaml")
        laid = TurnChannelsConfig.laid_over(fleet("channels", REDIS_URL=environment["REDIS_URL"]), options)
        config = TurnChannelsConfig(laid)
        self.assertTrue(config.standby)
        listens = {name: port_of(getattr(config, name)) for name in ("http_bind", "management_bind")}
        self.assertEqual(listens, ports)
        self.assertEqual(channel_specs(laid)[1], [])

    def compose(self) -> Any:
        return yaml.safe_load((ETC / "docker-compose.yaml").read_text())

    def test_compose(self) -> None:
        """Two workers with the broker and the Redis beside them, at ports that differ, with time to stop."""
        services = self.compose()["services"]
        self.assertEqual(set(services), {"rabbitmq", "redis", *WORKERS})
        published = []
        for name in WORKERS:
            service = services[name]
            environment = service["environment"]
            self.check(environment, {"http_bind": 8080, "management_bind": 8090})
            self.assertEqual(environment["LIVE_PORT"], "8090")
            self.assertIn(environment["AMQP_HOST"], services)
            self.assertIn(environment["REDIS_URL"].split("//")[1].split(":")[0], services)
            self.assertEqual(service["build"], {"context": "..", "dockerfile": "etc/Dockerfile"})
            self.assertIn("./channels.yaml:/config/channels.yaml:ro", service["volumes"])
            self.assertGreater(int(service["stop_grace_period"].rstrip("s")), 20)
            ports = [port.split(":") for port in service["ports"]]
            self.assertEqual([inner for *_, inner in ports], ["8080", "8090"])
            published += [int(outer) for _, outer, _ in ports]
            self.assertEqual(int(ports[0][1]), port_of(fleet(name)["http_bind"]))
        self.assertEqual(len(set(published)), 4)

    def test_compose_broker(self) -> None:
        """The broker has the workers' user and virtual host."""
        services = self.compose()["services"]
        broker, worker = services["rabbitmq"]["environment"], services["worker_a"]["environment"]
        self.assertEqual(broker["RABBITMQ_DEFAULT_USER"], worker["AMQP_USERNAME"])
        self.assertEqual(broker["RABBITMQ_DEFAULT_VHOST"], worker["AMQP_VHOST"])
        self.assertEqual(services["rabbitmq"]["env_file"], services["worker_a"]["env_file"])

    def test_health_check(self) -> None:
        """The image asks whether the process lives, where the worker's port is, or another that it is told."""
        text = (ETC / "Dockerfile").read_text()
        self.assertRegex(text, r"HEALTHCHECK[^\n]*\\\n[^\n]*http://127\.0\.0\.1:%s/live' % os\.environ\['LIVE_PORT'\]")
        self.assertNotIn("/health", text)
        (port,) = re.findall(r"^ENV LIVE_PORT=(\d+)$", text, re.MULTILINE)
        self.assertIn(f"EXPOSE {port}", text)

    def test_kubernetes(self) -> None:
        """Kubernetes asks /live whether to restart and /health whether to send POSTs, and lets the worker end."""
        deployment, service = yaml.safe_load_all((ETC / "kubernetes.yaml").read_text())
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        environment = {each["name"]: each["value"] for each in container["env"]}
        self.check(environment, {"http_bind": ports["http"], "management_bind": ports["management"]})
        self.assertEqual(container["livenessProbe"]["httpGet"], {"path": "/live", "port": "management"})
        self.assertEqual(container["readinessProbe"]["httpGet"], {"path": "/health", "port": "management"})
        stopping = TurnChannelsConfig._fields["shutdown_timeout"].default + 5 + 12
        self.assertGreater(pod["terminationGracePeriodSeconds"], stopping)
        self.assertIn(service["spec"]["ports"][0]["targetPort"], ports)
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        self.assertEqual(deployment["spec"]["selector"]["matchLabels"], labels)
        self.assertEqual(service["spec"]["selector"], labels)
        self.assertEqual([each["name"] for each in self.volumes(pod)], ["config"])

    def volumes(self, pod: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The pod's volumes that its container mounts."""
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        return (volume for volume in pod["volumes"] if volume["name"] in mounted)
