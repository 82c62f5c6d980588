"""The documentation: it builds, every link leads somewhere, and what it tells to type is accepted.

`mkdocs build --strict` refuses dead links between pages and to headings; the rest is checked here:
README's links, settings that are named, TOML that is shown, options of commands.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from support.server import EXAMPLES, ROOT, clean_environment, server_command
from support.tls import Authority

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TEXTS = [*PAGES, ROOT / "README.md", ROOT / "SECURITY.md"]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def rwsgi(*args: str, cwd: Path = EXAMPLES) -> subprocess.CompletedProcess:
    return subprocess.run([*server_command(), *args], cwd=cwd, env=clean_environment(), capture_output=True, text=True)


@pytest.fixture(scope="module")
def help_text() -> str:
    return rwsgi("--help").stdout


@pytest.fixture(scope="module")
def settings() -> set[str]:
    return set(re.findall(r"^### (\w+)$", (DOCS / "settings.md").read_text(), re.M))


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Built by the one command."""
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)],
                          cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


class Links(HTMLParser):
    """What a page points to, and what in it can be pointed to."""

    def __init__(self, text: str):
        super().__init__()
        self.targets: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for key, value in attrs:
            if key in ("href", "src") and value:
                self.targets.append(value)
            if key in ("id", "name") and value:
                self.ids.add(value)


def test_no_link_of_the_pages_is_dead(site):
    pages = {path: Links(path.read_text()) for path in site.rglob("*.html")}
    assert len(pages) >= len(PAGES)
    dead = []
    for path, page in pages.items():
        if path.name == "404.html":
            continue
        for target in page.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            file = file / "index.html" if file.is_dir() else file
            if not file.exists():
                dead.append(f"{path.name}: {target}")
            elif parts.fragment and file in pages and unquote(parts.fragment) not in pages[file].ids:
                dead.append(f"{path.name}: {target} (no such heading)")
    assert not dead, "\n".join(dead)


def test_every_page_is_in_the_navigation(site):
    index = Links((site / "index.html").read_text())
    for page in PAGES:
        relative = page.relative_to(DOCS).with_suffix(".html")
        assert str(relative) in {urlsplit(target).path for target in index.targets} | {"index.html"}, relative


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_links_to_files(path):
    """Of the sources, which are read on their own, too."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        parts = urlsplit(target)
        if not parts.scheme and parts.path:
            assert (path.parent / unquote(parts.path)).exists(), target
    for url in re.findall(r"<(https?://[^>]+)>|\]\((https?://[^)]+)\)", text):
        parts = urlsplit(url[0] or url[1])
        assert parts.hostname and " " not in parts.geturl()


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_files_that_are_named_exist(path):
    for file in re.findall(r"`((?:src|deploy|docs|tests|python-tests|examples|\.github)/[\w./-]+)`", path.read_text()):
        assert (ROOT / file).exists(), file


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """What stands in for the files under /etc/ssl that pages name."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    site = authority.issue("site")
    return {"/etc/ssl/site.pem": site.pem, "/etc/ssl/site.key": site.key, "/etc/ssl/clients-ca.pem": authority.pem}


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_toml_is_accepted(path, tmp_path, request):
    for number, block in enumerate(blocks(path.read_text(), "toml")):
        if "/etc/ssl/" in block:
            for named, made in request.getfixturevalue("certificate").items():
                block = block.replace(named, str(made))
        file = tmp_path / f"{number}.toml"
        file.write_text(block)
        app = [] if "wsgi_app" in block else ["hello:application"]
        done = rwsgi("--check-config", "-c", str(file), *app)
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_options_exist(path, help_text):
    known = set(re.findall(r"--[a-z][\w-]*", help_text))
    code = re.findall(r"`(rwsgi [^`]+)`", path.read_text())
    for block in [*blocks(path.read_text(), "sh"), *re.findall(r"^    (rwsgi .*)$", path.read_text(), re.M)]:
        code += [line for line in block.splitlines() if line.startswith("rwsgi")]
    for line in code:
        for word in shlex.split(line, comments=True):
            if word.startswith("--"):
                assert word.split("=")[0] in known, line


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_settings_exist(path, settings):
    """In links, in assignments, and in the right column of the table of uWSGI's options."""
    text = path.read_text()
    named = set(re.findall(r"settings\.md#(\w+)\)", text)) | set(re.findall(r"`(\w+) = ", text))
    if path.name == "from-uwsgi.md":
        for row in re.findall(r"^\| `.*$", text, re.M):
            named |= set(re.findall(r"`(\w+)`", row.split("|")[2]))
        named -= {"wsgi-file"}
    headings = {"gunicorns", "tls"}
    unknown = {word for word in named - settings - headings if not re.search(rf"`{word} = [^`]*`[^|]*\| `", text)}
    assert not unknown - {"chmod"}, unknown


def test_each_of_the_uwsgi_example_s_options_is_in_the_table(settings):
    text = (DOCS / "from-uwsgi.md").read_text()
    table = text[text.index("## Option by option"):]
    [ini] = blocks(text, "ini")
    for option in re.findall(r"^([\w-]+) =", ini, re.M):
        assert f"`{option}`" in table or f"`{option} " in table, option


def test_what_is_printed_can_be_read_again(tmp_path):
    """As from-gunicorn.md has it: print-config makes a rwsgi.toml of a gunicorn.conf.py."""
    (tmp_path / "gunicorn.conf.py").write_text("workers = 3\ntimeout = 60\nbind = ['127.0.0.1:0']\n")
    printed = rwsgi("--print-config", "-c", str(tmp_path / "gunicorn.conf.py"), "hello:application")
    assert printed.returncode == 0, printed.stderr
    (tmp_path / "rwsgi.toml").write_text(printed.stdout)
    done = rwsgi("--check-config", "-c", str(tmp_path / "rwsgi.toml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_signals_are_those_the_master_acts_on():
    code = (ROOT / "src/master/mod.rs").read_text()
    acted = {word.upper() for word in re.findall(r"Signal::(\w+),", code[code.index("const SIGNALS"):code.index("];")])}
    text = (DOCS / "lifecycle.md").read_text()
    table = text[text.index("## Signals"):text.index("## Exit codes")]
    listed = {word for row in re.findall(r"^\| (`.*?) \|", table, re.M) for word in re.findall(r"`(\w+)`", row)}
    assert listed == acted
    manual = (ROOT / "python/data/data/share/man/man1/rwsgi.1").read_text()
    assert all(re.search(rf"\b{word}\b", manual) for word in listed - {"CHLD"})


def test_the_defaults_that_protect_are_those_of_the_settings(settings):
    """SECURITY.md names each limit with its default: the number as the reference page has it."""
    reference = (DOCS / "settings.md").read_text()
    table = (ROOT / "SECURITY.md").read_text().split("## Defaults", 1)[1]
    compared = 0
    for row in re.findall(r"^\| .*$", table, re.M)[1:]:
        names, said = re.findall(r"`(\w+)`", row.split("|")[2]), row.split("|")[3].strip()
        assert set(names) <= settings, names
        numbers = [str(int(n) * (1024 if "KiB" in said else 1)) for n in re.findall(r"\d+", said)]
        if numbers and len(numbers) == len(names):
            for one, number in zip(names, numbers):
                section = reference.split(f"### {one}\n", 1)[1].split("\n### ", 1)[0]
                assert re.search(rf"Default: `{number}`", section), f"{one}: {number}\n{section}"
                compared += 1
    assert compared >= 12


def pins(name: str) -> dict[str, str]:
    """Package, in small letters, to version."""
    text = (ROOT / "python-tests" / name).read_text()
    return {found[1].lower(): found[2] for found in re.finditer(r"^([\w.-]+)(?:\[\w+\])?==(\S+)$", text, re.M)}


def frameworks() -> dict[str, tuple[str, str]]:
    """Package to the version and the test its row names."""
    rows = re.findall(r"^\| ([\w.-]+) \| (\d\S*) \|.*\| `([^`]+)` \|$", (DOCS / "frameworks.md").read_text(), re.M)
    assert len(rows) > 20 and len({row[0].lower() for row in rows}) == len(rows)
    return {package.lower(): (version, test) for package, version, test in rows}


@pytest.mark.parametrize("package", frameworks())
def test_rows_of_the_frameworks_are_true(package):
    """The version is the one that is tested, and the test exists."""
    version, test = frameworks()[package]
    assert version in {pins(name).get(package) for name in ("requirements.txt", "requirements-apps.txt")}
    file, what = test.split("::")
    source = (ROOT / "python-tests" / file).read_text()
    assert re.search(rf"^(def {what}\(|{what} = )", source, re.M), test
    if what == "SITES":
        assert re.search(rf'^    "{re.escape(package.rstrip("2"))}": "', source, re.M | re.I), f"{package} is not among the sites"


def test_every_application_that_is_installed_has_its_row():
    brought = {"django", "setuptools"}
    assert set(pins("requirements-apps.txt")) - brought <= set(frameworks())
    tested = [test for file in ("test_applications.py", "test_applications_clients.py")
              for test in re.findall(r"^def (test_\w+)\(", (ROOT / "python-tests" / file).read_text(), re.M)]
    named = {test.split("::")[1] for _, test in frameworks().values()}
    assert set(tested) <= named


def test_versions_that_are_in_both_lists_agree():
    first, second = pins("requirements.txt"), pins("requirements-apps.txt")
    assert {name: version for name, version in second.items() if first.get(name, version) != version} == {}
