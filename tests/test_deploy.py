"""What deploys the service says what the service has: routes, settings, figures, limits."""

import asyncio
import json
import re
import subprocess
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from pydantic import TypeAdapter

from ocr_pipeline.config import load_config
from ocr_pipeline.config.base import overrides_from
from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.serving.app import create_app
from ocr_pipeline.serving.metrics import Refusal

WORKERS_END_S = 10
"""What WorkerPool.close may take after the last request."""
UVICORN_MARGIN_S = 5
INGRESS_KEEPALIVE_S = 60
"""Of ingress-nginx: upstream-keepalive-timeout."""
PAGES_AT_ONCE = 4
"""Of one request; the time of each begins when its turn has come."""
SERVICE_BYTES = 400 * 2**20
"""What the process that listens holds at most."""
FRESH_WORKER_BYTES = 1600 * 2**20
"""What a worker holds at most before it grows: v6 small, bf16."""
LABELS = {
    "ocr_batch_fill": set(),
    "ocr_build_info": {"version", "detector", "recognizer"},
    "ocr_characters_total": set(),
    "ocr_dropped_regions_total": {"reason"},
    "ocr_lines_total": set(),
    "ocr_pages_total": set(),
    "ocr_process_resident_bytes": {"process"},
    "ocr_queue_depth": set(),
    "ocr_queue_wait_seconds": set(),
    "ocr_ready": set(),
    "ocr_refusals_total": {"reason"},
    "ocr_request_seconds": {"route"},
    "ocr_requests_total": {"route", "method", "status"},
    "ocr_step_seconds": {"step"},
    "ocr_worker_restarts_total": set(),
    "ocr_workers": set(),
}
Get = Callable[[str], httpx.Response]
DOCKERFILES = ["Dockerfile", "deploy/gpu/Dockerfile"]


@pytest.fixture(scope="module")
def get() -> Get:
    """Asks a service whose reading processes are never started."""
    transport = httpx.ASGITransport(create_app(ServeConfig()))

    async def ask(path: str) -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://ocr") as client:
            return await client.get(path)

    return lambda path: asyncio.run(ask(path))


def read(path: Path) -> list[Any]:
    return [part for part in yaml.safe_load_all(path.read_text("utf-8")) if part is not None]


def seconds(text: str) -> int:
    assert text.endswith("s")
    return int(text[:-1])


def size(text: str) -> int:
    """Bytes of 4g, 512m, 3Gi."""
    units = {"m": 2**20, "g": 2**30}
    found = re.fullmatch(r"(\d+)([mg])i?", text.lower())
    assert found, text
    return int(found[1]) * units[found[2]]


def instructions(file: Path) -> list[tuple[str, str]]:
    lines = re.sub(r"\\\n", " ", file.read_text("utf-8")).splitlines()
    parts = [line.partition(" ") for line in lines if line and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in parts]


# --- images


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_image_runs_without_rights_and_copies_what_exists(name: str, root: Path) -> None:
    steps = instructions(root / name)
    assert dict(steps)["USER"] == "10001:10001"
    assert {"USER", "HEALTHCHECK", "ENTRYPOINT"} <= {word for word, _ in steps[-6:]}
    for source, _ in (rest.split() for word, rest in steps if word == "COPY"):
        assert (root / source).exists()
        assert source not in (root / ".dockerignore").read_text("utf-8").splitlines()


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_health_check_of_the_image_asks_what_the_service_answers(
    name: str, root: Path, get: Get
) -> None:
    check = dict(instructions(root / name))["HEALTHCHECK"]
    path = re.search(r"http://127\.0\.0\.1:8000(/\w+)'", check)
    assert path
    assert get(path[1]).json()["status"] == "loading"


@pytest.mark.parametrize(("name", "device"), [*zip(DOCKERFILES, ("cpu", "gpu"), strict=True)])
def test_the_image_starts_the_service_open_to_its_network(
    name: str, device: str, root: Path
) -> None:
    words = json.loads(dict(instructions(root / name))["ENTRYPOINT"])
    config = root / words[words.index("--config") + 1]
    settings = load_config(TypeAdapter(ServeConfig), config, [w for w in words if "=" in w])
    assert (settings.host, settings.port) == ("0.0.0.0", 8000)  # noqa: S104
    assert settings.engine.device == device


def test_the_gpu_image_is_told_its_package_indexes_and_names_none(root: Path) -> None:
    steps = instructions(root / "deploy/gpu/Dockerfile")
    assert [rest for word, rest in steps if word == "ARG"] == ["PADDLE_INDEX", "TENSORRT_INDEX"]
    text = (root / "deploy/gpu/Dockerfile").read_text("utf-8")
    assert re.findall(r"https?://[^'/:]+", text) == ["http://127.0.0.1"]


def test_the_gpu_image_leaves_out_paddle_for_cpus_and_nothing_else(root: Path) -> None:
    text = (root / "deploy/gpu/Dockerfile").read_text("utf-8")
    script = re.search(r"sed '([^']+)' requirements/serve.txt", text)
    assert script
    all_of_it = (root / "requirements/serve.txt").read_text("utf-8")
    command = ["sed", script[1], "requirements/serve.txt"]
    kept = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout

    def releases(requirements: str) -> dict[str, int]:
        """Number of hashes by name."""
        found = re.split(r"^(?=[a-z])", requirements, flags=re.MULTILINE)
        return {r.split("==")[0]: r.count("--hash=") for r in found if r}

    expected = releases(all_of_it)
    assert expected.pop("paddlepaddle") > 0
    assert releases(kept) == expected


# --- compose


@pytest.fixture(scope="module")
def compose(root: Path) -> Any:
    [file] = read(root / "deploy/compose.yaml")
    return file


def test_no_container_may_write_or_rise(compose: Any) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "user" not in service, name
        assert not {"privileged", "cap_add", "network_mode", "pid"} & service.keys(), name


def test_every_container_is_bounded_watched_and_reached_from_this_machine_alone(
    compose: Any,
) -> None:
    for name, service in compose["services"].items():
        limits = service["deploy"]["resources"]["limits"]
        assert limits.keys() == {"cpus", "memory", "pids"}, name
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name


def test_what_compose_mounts_exists(compose: Any, root: Path) -> None:
    for service in compose["services"].values():
        for volume in service["volumes"]:
            source, target, *mode = volume.split(":")
            assert target.startswith("/")
            if source.startswith("../work/"):
                assert mode == ["ro"]  # made by scripts/export.py
            elif source.startswith("."):
                assert mode == ["ro"]
                assert (root / "deploy" / source).exists()
            else:
                assert source in compose["volumes"]


def test_the_service_in_compose_has_time_to_end_and_room_for_uploads(compose: Any) -> None:
    service, config = compose["services"]["ocr"], ServeConfig()
    needed = config.timeout_s + UVICORN_MARGIN_S + WORKERS_END_S
    assert seconds(service["stop_grace_period"]) > needed
    [tmpfs] = service["tmpfs"]
    room = size(tmpfs.split("size=")[1].split(",")[0])
    assert room > config.max_waiting * config.limits.max_bytes


def assert_recycling_fits(config: ServeConfig, limit: str) -> None:
    """A worker is replaced for its growth, and that before the system ends it."""
    assert config.worker_mb is not None
    grown = config.worker_mb * 2**20
    assert grown > FRESH_WORKER_BYTES
    needed = SERVICE_BYTES + config.workers * (grown + FRESH_WORKER_BYTES)
    assert needed < size(limit)


def test_the_service_in_compose_has_room_for_a_fresh_worker(compose: Any, root: Path) -> None:
    service = compose["services"]["ocr"]
    words = json.loads(dict(instructions(root / "Dockerfile"))["ENTRYPOINT"])
    config = root / words[words.index("--config") + 1]
    overrides = [word for word in words if "=" in word] + service["command"]
    settings = load_config(TypeAdapter(ServeConfig), config, overrides)
    assert_recycling_fits(settings, service["deploy"]["resources"]["limits"]["memory"])


# --- monitoring


def exprs(root: Path) -> list[str]:
    found = [rule["expr"] for rule in alerts(root)]
    for panel in dashboard(root)["panels"]:
        found += [target["expr"] for target in panel["targets"]]
    found += [rule["seriesQuery"] for rule in adapter(root)["rules"]["custom"]]
    return found


def dashboard(root: Path) -> Any:
    return json.loads((root / "deploy/monitoring/grafana/dashboards/ocr.json").read_text("utf-8"))


def adapter(root: Path) -> Any:
    [values] = read(root / "deploy/kubernetes/monitoring/adapter.yaml")
    return values


def series(get: Get) -> dict[str, str]:
    """Names that Prometheus keeps, with the name of the figure that each belongs to."""
    answer = get("/metrics")
    assert answer.status_code == 200
    found = {}
    for family in text_string_to_metric_families(answer.text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        endings = ("_bucket", "_sum", "_count") if family.type == "histogram" else ("",)
        found |= {name + ending: name for ending in endings}
    return found


def names_in(expr: str) -> set[str]:
    return set(re.findall(r"\bocr_\w+", expr))


def test_alerts_and_dashboard_ask_for_figures_that_the_service_has(root: Path, get: Get) -> None:
    known = series(get)
    assert LABELS.keys() <= set(known.values())
    asked = set[str]().union(*map(names_in, exprs(root)))
    assert asked <= known.keys()
    # And they leave none of them unused.
    assert {known[name] for name in asked} == LABELS.keys()


def test_alerts_and_dashboard_ask_by_labels_that_the_figures_have(root: Path, get: Get) -> None:
    known = series(get)
    for expr in exprs(root):
        labels = {"instance", "job", "namespace", "pod"}
        for name in names_in(expr):
            labels |= LABELS[known[name]] | ({"le"} if name.endswith("_bucket") else set())
        asked = re.findall(r"(\w+)(?:=~|!~|!=|=)\"", expr)
        asked += [word for by in re.findall(r"by \(([^)]*)\)", expr) for word in by.split(", ")]
        assert set(asked) <= labels, expr


def test_prometheus_asks_the_service_of_compose_and_finds_its_rules(
    root: Path, compose: Any
) -> None:
    [prometheus] = read(root / "deploy/monitoring/prometheus.yml")
    [job] = prometheus["scrape_configs"]
    [[target]] = [config["targets"] for config in job["static_configs"]]
    host, port = target.split(":")
    assert compose["services"][host]["ports"][0].endswith(f":{port}")
    mounted = {v.split(":")[1] for v in compose["services"]["prometheus"]["volumes"]}
    assert {f"/etc/prometheus/{name}" for name in prometheus["rule_files"]} <= mounted
    # The alert on `up` names it.
    assert f'job="{job["job_name"]}"' in exprs(root)[0]


def alerts(root: Path) -> list[Any]:
    [rules] = read(root / "deploy/monitoring/alerts.yml")
    return [rule for group in rules["groups"] for rule in group["rules"]]


def test_alerts_watch_all_that_is_the_services_own_fault_and_count_no_probes(root: Path) -> None:
    watched: set[str] = set()
    for rule in alerts(root):
        for reasons in re.findall(r'ocr_refusals_total\{reason=~"([^"]+)"\}', rule["expr"]):
            watched |= set(reasons.split("|"))
        for labels in re.findall(r"ocr_request(?:s|_seconds)\w*(\{[^}]*\}|)", rule["expr"]):
            assert re.search(r'route="/v1/\w+"', labels), rule["alert"]
    assert watched == {"busy", "fault", "timeout", "worker_lost"}
    assert watched < {*get_args(Refusal)}


def test_every_alert_says_what_is_wrong_and_how_bad(root: Path) -> None:
    rules = alerts(root)
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("critical", "warning")
        # Of what is absent no instance is known.
        is_gone = rule["expr"].startswith("absent(")
        assert is_gone or "$labels.instance" in rule["annotations"]["summary"]
        assert re.fullmatch(r"\d+[mh]", rule.get("for", "1m"))


def test_the_dashboard_is_provisioned_and_its_panels_do_not_overlap(
    root: Path, compose: Any
) -> None:
    provisioning = root / "deploy/monitoring/grafana/provisioning"
    [sources] = read(provisioning / "datasources/prometheus.yaml")
    [[source]] = [sources["datasources"]]
    assert source["url"] == "http://prometheus:9090"
    board = dashboard(root)
    for panel in board["panels"]:
        assert {t["datasource"]["uid"] for t in panel["targets"]} == {source["uid"]}
    [providers] = read(provisioning / "dashboards/ocr.yaml")
    folder = providers["providers"][0]["options"]["path"]
    mounted = [v.split(":")[1] for v in compose["services"]["grafana"]["volumes"]]
    assert folder in mounted

    def cells(panel: Any) -> set[tuple[int, int]]:
        at = panel["gridPos"]
        columns = range(at["x"], at["x"] + at["w"])
        assert columns[-1] < 24
        return {(x, y) for x in columns for y in range(at["y"], at["y"] + at["h"])}

    for one, other in combinations(board["panels"], 2):
        assert not cells(one) & cells(other), (one["title"], other["title"])


# --- proxies


def test_proxies_wait_for_the_largest_document(root: Path) -> None:
    config = ServeConfig()
    needed = config.documents.max_pages * config.timeout_s / PAGES_AT_ONCE
    page = (root / "docs/operations.md").read_text("utf-8")
    [nginx] = re.findall(r"proxy_read_timeout (\w+);", page)
    assert seconds(nginx) > needed
    [ray] = read(root / "deploy/ray/serve.yaml")
    assert ray["http_options"]["request_timeout_s"] > needed


# --- Kubernetes


@pytest.fixture(scope="module")
def manifests(root: Path) -> dict[str, Any]:
    """By kind; what the kustomization names."""
    folder = root / "deploy/kubernetes"
    [kustomization] = read(folder / "kustomization.yaml")
    generated = {name for g in kustomization["configMapGenerator"] for name in g["files"]}
    there = {file.name for file in folder.glob("*.yaml")}
    assert there == {*kustomization["resources"], *generated, "kustomization.yaml"}
    parts = [part for name in kustomization["resources"] for part in read(folder / name)]
    assert len({part["kind"] for part in parts}) == len(parts)
    return {part["kind"]: part for part in parts}


@pytest.fixture(scope="module")
def kube_config(root: Path, manifests: dict[str, Any]) -> ServeConfig:
    """What a pod is configured to, its environment included."""
    variables = {part["name"]: part["value"] for part in container(manifests)["env"]}
    schema: TypeAdapter[ServeConfig] = TypeAdapter(ServeConfig)
    overrides = overrides_from(variables, "OCR_SERVE", schema)
    assert len(overrides) == len(variables)
    return load_config(schema, root / "deploy/kubernetes/serve.yaml", overrides)


def pod(manifests: dict[str, Any]) -> Any:
    return manifests["Deployment"]["spec"]["template"]["spec"]


def container(manifests: dict[str, Any]) -> Any:
    [only] = pod(manifests)["containers"]
    return only


def test_the_pod_reads_its_config_its_keys_and_its_models_where_they_are_mounted(
    manifests: dict[str, Any], kube_config: ServeConfig
) -> None:
    mounts = container(manifests)["volumeMounts"]
    assert {m["name"] for m in mounts} == {v["name"] for v in pod(manifests)["volumes"]}
    folders = {m["mountPath"] for m in mounts if "subPath" not in m}
    assert {m["mountPath"] for m in mounts if not m.get("readOnly")} == {"/tmp"}  # noqa: S108
    command = container(manifests)["command"]
    assert command[command.index("--config") + 1] in {m["mountPath"] for m in mounts}
    assert kube_config.access.keys_file is not None
    for path in (kube_config.detector, kube_config.recognizer, kube_config.access.keys_file):
        assert str(Path(path).parent) in folders


def test_the_pod_asks_for_what_its_workers_use_and_opens_the_port_it_listens_on(
    manifests: dict[str, Any], kube_config: ServeConfig
) -> None:
    resources = container(manifests)["resources"]
    threads = kube_config.workers * kube_config.engine.threads
    assert int(resources["requests"]["cpu"]) == threads <= int(resources["limits"]["cpu"])
    assert size(resources["requests"]["memory"]) <= size(resources["limits"]["memory"])
    [port] = container(manifests)["ports"]
    assert port["containerPort"] == kube_config.port
    assert kube_config.host == "0.0.0.0"  # noqa: S104
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container(manifests)[probe]["httpGet"]["port"] == port["name"]
    [outer] = manifests["Service"]["spec"]["ports"]
    assert outer["targetPort"] == port["name"]
    [rule] = manifests["NetworkPolicy"]["spec"]["ingress"]
    assert [p["port"] for p in rule["ports"]] == [port["name"]]


def test_the_pod_has_room_for_a_fresh_worker(
    manifests: dict[str, Any], kube_config: ServeConfig
) -> None:
    assert_recycling_fits(kube_config, container(manifests)["resources"]["limits"]["memory"])


def test_probes_ask_routes_of_the_service_and_wait_long_enough(
    manifests: dict[str, Any], kube_config: ServeConfig, get: Get
) -> None:
    paths = {
        probe: container(manifests)[probe]["httpGet"]["path"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    # While models load: alive, not ready, and so not killed.
    assert get(paths["livenessProbe"]).status_code == 200
    assert get(paths["readinessProbe"]).status_code == 503
    assert paths["startupProbe"] == paths["readinessProbe"] != paths["livenessProbe"]
    startup = container(manifests)["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] > kube_config.start_timeout_s


def test_the_ingress_lets_go_of_a_connection_before_the_pod_does(
    kube_config: ServeConfig, manifests: dict[str, Any]
) -> None:
    [rule] = manifests["NetworkPolicy"]["spec"]["ingress"]
    names = [one["namespaceSelector"]["matchLabels"] for one in rule["from"][:2]]
    assert {"kubernetes.io/metadata.name": "ingress-nginx"} in names
    assert kube_config.patience.idle_timeout_s > INGRESS_KEEPALIVE_S


def test_a_pod_has_time_to_answer_what_it_has_in_work(
    manifests: dict[str, Any], kube_config: ServeConfig
) -> None:
    word, pause = container(manifests)["lifecycle"]["preStop"]["exec"]["command"]
    assert word == "sleep"
    needed = int(pause) + kube_config.timeout_s + UVICORN_MARGIN_S + WORKERS_END_S
    assert pod(manifests)["terminationGracePeriodSeconds"] > needed


def test_the_pod_has_no_rights(manifests: dict[str, Any], root: Path) -> None:
    uid, gid = dict(instructions(root / "Dockerfile"))["USER"].split(":")
    security = pod(manifests)["securityContext"]
    assert security["runAsNonRoot"] is True
    assert (security["runAsUser"], security["runAsGroup"]) == (int(uid), int(gid))
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(manifests)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod(manifests)["automountServiceAccountToken"] is False
    assert manifests["NetworkPolicy"]["spec"]["egress"] == []
    assert set(manifests["NetworkPolicy"]["spec"]["policyTypes"]) == {"Ingress", "Egress"}


def test_all_select_the_same_pods(manifests: dict[str, Any]) -> None:
    deployment = manifests["Deployment"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    [spread] = deployment["template"]["spec"]["topologySpreadConstraints"]
    assert deployment["selector"]["matchLabels"] == labels
    assert manifests["Service"]["spec"]["selector"] == labels
    assert manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert manifests["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    assert spread["labelSelector"]["matchLabels"] == labels


def test_the_volumes_of_the_pod_are_made_by_what_is_named(
    manifests: dict[str, Any], root: Path
) -> None:
    volumes = {volume["name"]: volume for volume in pod(manifests)["volumes"]}
    claim = volumes["models"]["persistentVolumeClaim"]
    assert claim == {
        "claimName": manifests["PersistentVolumeClaim"]["metadata"]["name"],
        "readOnly": True,
    }
    [kustomization] = read(root / "deploy/kubernetes/kustomization.yaml")
    [generated] = kustomization["configMapGenerator"]
    assert volumes["config"]["configMap"]["name"] == generated["name"]
    assert generated["files"] == ["serve.yaml"]
    assert kustomization["images"][0]["name"] == container(manifests)["image"]


def test_the_claim_of_the_models_is_made_before_it_is_filled_and_filled_before_the_pods(
    root: Path,
) -> None:
    page = (root / "docs/deploy.md").read_text("utf-8")
    made = page.index("apply --filename deploy/kubernetes/models.yaml")
    filled = page.index("Copy the exported folders")
    assert made < filled < page.index("apply --kustomize deploy/kubernetes")


def test_the_autoscaler_asks_for_a_figure_that_the_adapter_gives(
    manifests: dict[str, Any], root: Path, get: Get, kube_config: ServeConfig
) -> None:
    spec = manifests["HorizontalPodAutoscaler"]["spec"]
    [metric] = spec["metrics"]
    [rule] = adapter(root)["rules"]["custom"]
    name = metric["pods"]["metric"]["name"]
    assert name == rule["name"]["as"]
    assert re.fullmatch(rule["name"]["matches"], name)
    assert name in series(get)
    assert float(metric["pods"]["target"]["averageValue"]) < kube_config.max_waiting
    target = {k: manifests["Deployment"][k] for k in ("apiVersion", "kind")}
    assert spec["scaleTargetRef"] == target | manifests["Deployment"]["metadata"]
    assert "replicas" not in manifests["Deployment"]["spec"]


def test_the_service_monitor_asks_the_service_for_its_figures(
    manifests: dict[str, Any], root: Path, get: Get
) -> None:
    [monitor] = read(root / "deploy/kubernetes/monitoring/servicemonitor.yaml")
    [endpoint] = monitor["spec"]["endpoints"]
    assert get(endpoint["path"]).status_code == 200
    assert endpoint["port"] == manifests["Service"]["spec"]["ports"][0]["name"]
    labels = manifests["Service"]["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"] == labels


def test_the_prometheus_operator_gets_the_same_alerts(
    manifests: dict[str, Any], root: Path
) -> None:
    folder = root / "deploy/kubernetes/monitoring"
    [kustomization] = read(folder / "kustomization.yaml")
    [rules] = [
        part
        for name in kustomization["resources"]
        for part in read(folder / name)
        if part["kind"] == "PrometheusRule"
    ]
    [known] = read(root / "deploy/monitoring/alerts.yml")
    assert rules["spec"] == known
    # Without a label that says otherwise the operator names the job after the Service.
    jobs = {job for rule in alerts(root) for job in re.findall(r'job="(\w+)"', rule["expr"])}
    assert jobs == {manifests["Service"]["metadata"]["name"]}
