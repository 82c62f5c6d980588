"""deploy/: every example is what it says it is, in form, and in what it tells rwsgi.

In form: by the schemas of those who read these files. In what it tells rwsgi: the variables and
command lines are given to the server under test, which refuses what it does not know.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import requests
import yaml
from support.server import EXAMPLES, ROOT, clean_environment, server_command

DEPLOY = ROOT / "deploy"


def accepted(variables: dict[str, str], *args: str) -> None:
    """The server takes these variables (it refuses unknown names and wrong values) and arguments."""
    command = [*server_command(), "--check-config", *args]
    done = subprocess.run(command, cwd=EXAMPLES, env=clean_environment(**variables), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def schema(name: str, *files: Path) -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", name, *map(str, files)]
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def seconds(text: str) -> float:
    return float(text) if re.fullmatch(r"[\d.]+", text) else float(text[:-1]) * {"s": 1, "m": 60}[text[-1]]


# Kubernetes


@pytest.fixture(scope="module")
def manifests() -> dict[str, dict]:
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes/rwsgi.yaml").read_text()))
    return {document["kind"]: document for document in documents}


def test_kubernetes_form(manifests):
    import kubernetes_validate

    for document in manifests.values():
        kubernetes_validate.validate(document, "1.33", strict=True)


def test_kubernetes_deployment(manifests):
    deployment = manifests["Deployment"]["spec"]
    pod = deployment["template"]
    [container] = pod["spec"]["containers"]
    variables = {item["name"]: item["value"] for item in container["env"]}
    accepted(variables)
    sleep = float(container["lifecycle"]["preStop"]["exec"]["command"][1])
    grace = pod["spec"]["terminationGracePeriodSeconds"]
    assert grace > sleep + float(variables["RWSGI_GRACEFUL_TIMEOUT"])
    port, status = container["ports"]
    assert str(port["containerPort"]) == variables["PORT"]
    assert variables["RWSGI_STATUS_BIND"] == f"0.0.0.0:{status['containerPort']}"
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == str(status["containerPort"])
    asked = {probe: container[probe]["httpGet"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert {action["port"] for action in asked.values()} == {status["name"]}
    assert [action["path"] for action in asked.values()] == ["/readyz", "/readyz", "/healthz"]
    labels = pod["metadata"]["labels"]
    for selector in (deployment["selector"]["matchLabels"], manifests["Service"]["spec"]["selector"],
                     manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]):
        assert selector.items() <= labels.items()
    assert manifests["Service"]["spec"]["ports"][0]["targetPort"] == port["name"]
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    user = pod["spec"]["securityContext"]
    assert f"USER {user['runAsUser']}:{user['runAsGroup']}" in dockerfile
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["spec"]["volumes"]}


# Compose and nginx


def test_compose():
    file = DEPLOY / "compose.yaml"
    schema("vendor.compose-spec", file)
    compose = yaml.safe_load(file.read_text())
    app = compose["services"]["app"]
    accepted({**app["environment"], "RWSGI_BIND": "127.0.0.1:0"})
    assert (file.parent / app["build"]["context"] / app["build"]["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
    assert seconds(app["stop_grace_period"]) > float(app["environment"]["RWSGI_GRACEFUL_TIMEOUT"])
    # Both sides name the same socket, on the same volume.
    socket = re.search(r"unix:(\S+?)[,\s]", app["environment"]["RWSGI_BIND"])[1]
    nginx = (DEPLOY / "nginx.conf").read_text()
    assert f"server unix:{socket} " in nginx
    for service in ("app", "nginx"):
        mounts = [volume.split(":") for volume in compose["services"][service]["volumes"]]
        assert ["sockets", str(Path(socket).parent)] in [mount[:2] for mount in mounts]
    for volume in compose["services"]["nginx"]["volumes"]:
        if volume.startswith("./"):
            assert (DEPLOY / volume.split(":")[0]).exists()
    # nginx lets go of an idle connection first.
    assert float(app["environment"]["RWSGI_KEEPALIVE"]) > seconds(re.search(r"keepalive 32;\s+keepalive_timeout (\w+);", nginx)[1])


@pytest.mark.parametrize("language, names", [
    ("nginx", ["nginx.conf"]), ("apache", ["apache.conf"]), ("lighttpd", ["lighttpd.conf"]), ("haproxy", ["haproxy.cfg", "haproxy-tcp.cfg"]),
    ("vcl", ["varnish.vcl"]), ("caddyfile", ["Caddyfile"]),
])
def test_the_page_about_proxies_shows_what_is_in_the_files(language, names):
    """The files themselves are run by test_proxies.py."""
    page = (ROOT / "docs/deploy/proxies.md").read_text()
    shown = re.findall(rf"^```{language}\n(.*?)^```", page, re.M | re.S)
    assert len(shown) == len(names)
    for block, name in zip(shown, names):
        assert f"`deploy/{name}`" in page
        lines = {line.strip() for line in (DEPLOY / name).read_text().splitlines()}
        assert not [line for line in map(str.strip, block.splitlines()) if line and line not in lines]


# Platforms


def procfile(path: Path) -> dict[str, str]:
    lines = path.read_text().splitlines()
    return dict(re.fullmatch(r"([A-Za-z0-9_-]+):\s*(.+)", line).groups() for line in lines if line)


def test_heroku(serve):
    app = json.loads((DEPLOY / "heroku/app.json").read_text())
    variables = {name: item["value"] for name, item in app["env"].items()}
    accepted({**variables, "PORT": "5000", "WEB_CONCURRENCY": "2"}, "hello:application")
    # A dyno is killed 30 s after TERM, the router gives up after 30 s.
    assert float(variables["RWSGI_GRACEFUL_TIMEOUT"]) < 30 and float(variables["RWSGI_TIMEOUT"]) < 30
    program, *args = shlex.split(procfile(DEPLOY / "heroku/Procfile")["web"])
    assert program == "rwsgi" and set(procfile(DEPLOY / "heroku/Procfile")) == set(app["formation"])
    server = serve(None, *args, bind=(), chdir=None, cwd=EXAMPLES, env={**variables, "PORT": "0", "WEB_CONCURRENCY": "2"})
    assert server.listening[0].startswith("http://0.0.0.0:")
    server.booted(2)
    assert requests.get(f"http://127.0.0.1:{server.port}/", timeout=30).status_code == 200
    server.out.wait("GET / HTTP/1.1")


def test_elastic_beanstalk(serve):
    directory = DEPLOY / "elastic-beanstalk"
    [config] = (directory / ".ebextensions").glob("*.config")
    options = yaml.safe_load(config.read_text())["option_settings"]
    assert all(re.fullmatch(r"aws(:[a-z0-9]+)+", namespace) for namespace in options)
    variables = options["aws:elasticbeanstalk:application:environment"]
    assert all(isinstance(value, str) for namespace in options.values() for value in namespace.values())
    program, *args = shlex.split(procfile(directory / "Procfile")["web"])
    assert program == "rwsgi"
    # Where the platform's nginx passes to.
    assert args[args.index("--bind") + 1] == "127.0.0.1:8000"
    args[args.index("--bind") + 1] = "127.0.0.1:0"
    server = serve(None, *args, bind=(), chdir=None, cwd=EXAMPLES, env=variables)
    assert requests.get(server.url(), timeout=30).status_code == 200


def test_nomad():
    import hcl2

    text = (DEPLOY / "nomad/rwsgi.nomad.hcl").read_text()
    plain = json.loads(json.dumps(hcl2.loads(text)).replace(r"\"", ""))

    def block(of, *path):
        for name in path:
            of = of[name]
            of = of[0] if isinstance(of, list) else of
        return of

    group = block(plain, "job", "web", "group", "web")
    task = block(group, "task", "rwsgi")
    variables = block(task, "env")
    assert variables["PORT"] == "${NOMAD_PORT_http}"
    assert variables["RWSGI_STATUS_BIND"] == "0.0.0.0:${NOMAD_PORT_status}"
    accepted({name: value for name, value in variables.items() if not name.startswith("__") and "${" not in value})
    assert task["kill_signal"] == "SIGTERM"
    assert seconds(task["kill_timeout"]) > float(variables["RWSGI_GRACEFUL_TIMEOUT"])
    assert "http" in block(group, "network", "port") and block(group, "service")["port"] == "http"
    assert block(task, "config")["ports"] == ["http", "status"]


# Releases


def test_the_release_workflow():
    file = ROOT / ".github/workflows/release.yml"
    schema("vendor.github-workflows", file)
    # YAML 1.1 reads the key `on` as a boolean.
    workflow = yaml.load(file.read_text(), yaml.BaseLoader)
    jobs = workflow["jobs"]
    matrix = jobs["wheel"]["strategy"]["matrix"]
    assert {entry["name"] for entry in matrix["platform"]} == {"manylinux", "musllinux"}
    assert {entry["target"] for entry in matrix["machine"]} == {"x86_64", "aarch64"}
    assert set(jobs["publish"]["needs"]) == set(jobs) - {"publish"}
    assert workflow["on"]["push"]["tags"] == ["v*"] and "refs/tags/v" in jobs["publish"]["if"]
    assert workflow["permissions"] == {"contents": "read"}
    for job in jobs.values():
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            if "run" in step:
                script = re.sub(r"\$\{\{.*?\}\}", "x", step["run"])
                subprocess.run(["bash", "-n", "-c", script], check=True)
                for script in re.findall(r"/source/(\S+\.sh)", step["run"]):
                    subprocess.run(["sh", "-n", ROOT / script], check=True)


def test_the_release_counts_the_wheels_it_makes():
    workflow = yaml.load((ROOT / ".github/workflows/release.yml").read_text(), yaml.BaseLoader)
    matrix = workflow["jobs"]["wheel"]["strategy"]["matrix"]
    expected = len(matrix["platform"]) * len(matrix["machine"])
    [step] = [step for step in workflow["jobs"]["publish"]["steps"] if "The tag is" in step.get("name", "")]
    assert f"= {expected}\n" in step["run"]
