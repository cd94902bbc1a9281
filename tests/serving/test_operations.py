"""Holds what runs the service to the service: names, ports, paths, users and limits."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from data.settings import ROOT, Settings
from data.store.database import Database
from data.store.keyring import Keyring
from serving.app import describe
from tests.serving.manifests import (
    COMPOSE,
    DOCKERFILE,
    DRAIN_S,
    IMAGE_ENVIRONMENT,
    KUBERNETES,
    OPERATIONS,
    PORT,
    SERVICES,
    containers,
    in_comments,
    manifests,
    of_files,
    pods,
    server,
    the,
)

each_service = pytest.mark.parametrize("name", SERVICES)


# What all of it names


def test_every_variable_is_a_setting() -> None:
    known = {f"MINGBIAN_{name.upper()}" for name in Settings.model_fields}
    for path in of_files(".yaml", ".yml", ".md"):
        assert set(re.findall(r"MINGBIAN_[A-Z_]+", path.read_text("utf-8"))) <= known, path


def test_no_secret_is_in_a_file() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN", variable):
                assert variable.endswith("_FILE"), (name, variable)
                assert value.removeprefix("/run/secrets/") in service["secrets"]
            assert not re.search(r"//[^/@]*:[^/@]*@", value), "a password in an address"
    for secret in COMPOSE["secrets"].values():
        assert secret["file"].startswith("var/"), "where git looks away"
    for item in yaml.safe_load_all((KUBERNETES / "secrets.template.yaml").read_text("utf-8")):
        assert set(item["stringData"].values()) == {""}
    assert all(item["kind"] != "Secret" for item in manifests())


# Docker Compose


@each_service
def test_a_container_can_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert any(place == "/tmp" for place in service["tmpfs"])
    assert {"cpus", "memory", "pids"} <= set(service["deploy"]["resources"]["limits"])
    for port in service.get("ports", []):
        assert name == "proxy" or port.startswith("127.0.0.1:"), "open to the world"


@each_service
def test_a_container_is_a_known_release_and_its_health_is_known(name: str) -> None:
    service = SERVICES[name]
    if service["image"] == "mingbian":
        assert service["build"] == "."
        assert "HEALTHCHECK" in DOCKERFILE
    else:
        assert re.fullmatch(r"([a-z]+/)?[a-z]+:v?[0-9]+(\.[0-9]+)*(-[a-z]+)?", service["image"])
        assert service["healthcheck"]["test"][0] == "CMD"
    assert service["restart"] == ("no" if name == "prepare" else "unless-stopped")


@each_service
def test_what_a_container_names_exists(name: str) -> None:
    service = SERVICES[name]
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("."):
            assert (ROOT / source).exists()
            assert volume.endswith(":ro")
        else:
            assert source in COMPOSE["volumes"]
    assert set(service["networks"]) <= set(COMPOSE["networks"])
    assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
    assert set(service.get("depends_on", [])) <= set(SERVICES)


def test_servers_share_keys_and_bundles_start_after_the_tables_and_end_in_peace() -> None:
    service, prepare = SERVICES["service"], SERVICES["prepare"]
    assert service["deploy"]["replicas"] >= 2
    assert service["volumes"] == prepare["volumes"] == ["state:/var/lib/mingbian"]
    for setting in ("MINGBIAN_KEYS", "MINGBIAN_PROMOTED"):
        assert Path(IMAGE_ENVIRONMENT[setting]).is_relative_to("/var/lib/mingbian")
    assert service["depends_on"]["prepare"]["condition"] == "service_completed_successfully"
    assert int(service["stop_grace_period"].removesuffix("s")) > DRAIN_S
    assert COMPOSE["networks"]["store"]["internal"]
    reaching = {name for name, found in SERVICES.items() if "store" in found["networks"]}
    assert reaching == {"database", "prepare", "service"}


def test_a_server_s_password_comes_from_its_file(tmp_path: Path) -> None:
    """Runs the entry point as its shell would, and asks what the program then finds."""
    (tmp_path / "password").write_text("a b$c\n", "utf-8")
    words = [word.replace("$$", "$") for word in SERVICES["service"]["entrypoint"]]
    words = [word.replace("/run/secrets/database-password", str(tmp_path / "password")) for word in words]
    done = subprocess.run([*words, "printenv", "PGPASSWORD"], capture_output=True, text=True, check=True)
    assert done.stdout == "a b$c\n"
    gone = subprocess.run([*SERVICES["service"]["entrypoint"], "true"], capture_output=True, check=False)
    assert gone.returncode != 0, "without its password a server does not start"


def test_the_secrets_are_made_as_written(tmp_path: Path) -> None:
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make keys with")
    commands = in_comments(ROOT / "compose.yaml", "install -d")
    subprocess.run(["bash", "-euc", commands], cwd=tmp_path, check=True)
    for secret in COMPOSE["secrets"].values():
        path = tmp_path / secret["file"]
        assert stat.S_IMODE(path.stat().st_mode) == 0o444
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    for name in ("database-password", "grafana-password"):
        assert re.fullmatch(
            "[0-9a-f]{64}\n", (tmp_path / COMPOSE["secrets"][name]["file"]).read_text("ascii")
        )
    # Loads only where the key is the certificate's own.
    ssl.create_default_context().load_cert_chain(tmp_path / COMPOSE["secrets"]["site-certificate"]["file"])


def test_the_proxy_hands_on_what_callers_ask_for_only() -> None:
    text = (OPERATIONS / "haproxy.cfg").read_text("utf-8")
    assert f" service:{PORT} check" in text
    hidden = set(re.findall(r"deny_status 404 if { path (.*) }", text)[0].split())
    assert {"/metrics", "/livez", "/readyz"} == hidden <= set(describe()["paths"])
    assert "option httpchk GET /livez" in text
    (certificate,) = re.findall(r"ssl crt /run/secrets/(\S+)", text)
    assert SERVICES["proxy"]["secrets"] == [certificate]
    (health,) = re.findall(r"bind (127\S+)", text)
    assert f"http://{health}/" in SERVICES["proxy"]["healthcheck"]["test"]


# Kubernetes


def test_every_manifest_is_applied_or_says_that_it_is_not() -> None:
    listed = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text("utf-8"))["resources"]
    beside = {path.name for path in KUBERNETES.iterdir()} - set(listed)
    assert beside == {"kustomization.yaml", "secrets.template.yaml", "monitor.yaml"}
    for name in beside - {"kustomization.yaml"}:
        assert "kustomization.yaml leaves" in (KUBERNETES / name).read_text("utf-8")


def test_pods_run_as_the_image_s_user_and_write_nowhere_else() -> None:
    uid, gid = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)[0]
    for pod in pods():
        context = pod["securityContext"]
        assert context["runAsNonRoot"]
        assert (context["runAsUser"], context["runAsGroup"]) == (int(uid), int(gid))
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
    for container in containers():
        assert container["image"] == "mingbian"
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]


def test_probes_ask_what_they_are_for() -> None:
    asked = {name: server()[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert asked["liveness"] == asked["startup"] == {"path": "/livez", "port": "http"}
    # Not /readyz alone: without a model no server would be left to answer by the rules.
    assert asked["readiness"] == {"path": "/readyz?exclude=model", "port": "http"}
    (parameter,) = describe()["paths"]["/readyz"]["get"]["parameters"]
    assert (parameter["name"], parameter["required"]) == ("exclude", False)
    assert server()["ports"] == [{"name": "http", "containerPort": PORT}]
    assert the("Service")["spec"]["ports"][0]["targetPort"] == "http"


def test_a_pod_has_time_to_end_and_others_stay() -> None:
    pause = int(server()["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pods()[0]["terminationGracePeriodSeconds"] > pause + DRAIN_S
    assert the("HorizontalPodAutoscaler")["spec"]["minReplicas"] >= 2
    assert the("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    spread = {rule["topologyKey"] for rule in pods()[0]["topologySpreadConstraints"]}
    assert "kubernetes.io/hostname" in spread


def test_everything_selects_the_servers() -> None:
    labels = the("Deployment")["spec"]["template"]["metadata"]["labels"]
    wanted = {"app.kubernetes.io/name": "mingbian"}
    assert wanted.items() <= labels.items()
    assert the("Service")["spec"]["selector"] == wanted
    assert the("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == wanted
    assert the("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == "mingbian"
    policies = [item["spec"] for item in manifests() if item["kind"] == "NetworkPolicy"]
    assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in policies, "refused unless allowed"
    job = the("Job")["spec"]["template"]["metadata"]["labels"]
    for policy in policies:
        selected = policy["podSelector"].get("matchLabels", {})
        assert selected.items() <= labels.items()
        if "egress" in policy:
            assert selected.items() <= job.items()
    assert not wanted.items() <= job.items(), "callers would be sent to the migration"


def test_the_configuration_is_one_the_service_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MINGBIAN_")]:
        monkeypatch.delenv(name)
    for name, value in {**IMAGE_ENVIRONMENT, **the("ConfigMap")["data"]}.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.environment == "production"
    assert settings.port == PORT
    Database(settings.database_url).close()
    mounts = {mount["mountPath"]: mount["name"] for mount in server()["volumeMounts"]}
    assert mounts[str(settings.promoted)] == "bundles"
    assert mounts[str(settings.keys.parent)] == "state"
    assert {"/tmp"} < set(mounts)


def test_the_sealed_keys_become_a_keyring(tmp_path: Path) -> None:
    """Makes keys as the template says, hands them over as the pod does, and opens them."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make keys with")
    making = in_comments(KUBERNETES / "secrets.template.yaml", "umask 077").split("kubectl")[0]
    subprocess.run(["bash", "-euc", making], cwd=tmp_path, check=True)
    (init,) = pods()[0]["initContainers"]
    script = init["command"][2].replace("/sealed", str(tmp_path / "keys"))
    script = script.replace("/var/lib/mingbian", str(tmp_path / "state"))
    (tmp_path / "state").mkdir()
    for path in (tmp_path / "keys").iterdir():
        path.chmod(0o440)
    subprocess.run([*init["command"][:2], script], check=True)
    keyring = Keyring.open(tmp_path / "state" / "keys")
    assert keyring.vault == (tmp_path / "keys" / "vault.key").read_bytes()
    assert keyring.cookies == (tmp_path / "keys" / "cookies.key").read_bytes()
    sealed = next(v for v in pods()[0]["volumes"] if v["name"] == "sealed")["secret"]["secretName"]
    template = yaml.safe_load_all((KUBERNETES / "secrets.template.yaml").read_text("utf-8"))
    kept = {item["metadata"]["name"]: set(item["stringData"]) for item in template}
    assert kept[sealed] == {path.name for path in (tmp_path / "keys").iterdir()}
