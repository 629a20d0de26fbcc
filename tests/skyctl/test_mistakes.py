"""A mistake is one line that says what to do, an exit status, and no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyward.skyctl.arguments import normalized
from skyward.skyctl.main import invoke
from tests.apiserver.standins import World
from tests.builders import make_pool
from tests.skyctl.conftest import Skyctl

MISTAKES = [
    ("get", "poolz"),
    ("get", "pool", "none"),
    ("get", "pool/"),
    ("get", "pools", "-o", "xml"),
    ("get", "pools", "-l", "=bad"),
    ("get", "pools,nodes", "-w"),
    ("get", "pool", "none", "-A"),
    ("describe", "pool", "none"),
    ("delete",),
    ("delete", "pools"),
    ("delete", "source", "manifests"),
    ("delete", "pool", "none"),
    ("scale", "pool", "hello"),
    ("scale", "node", "x", "--nodes", "1"),
    ("scale", "pool", "none", "--nodes", "1"),
    ("edit", "node", "x"),
    ("edit", "pool", "none"),
    ("wait", "pool/hello", "--for=nonsense"),
    ("wait", "pool/none", "--for=condition=Ready"),
    ("wait", "pool/hello", "--for=delete", "--timeout=soon"),
    ("logs", "pool/hello"),
    ("logs", "none"),
    ("apply", "-f", "/no/such/file.yaml"),
    ("apply", "-f", "/dev/zero"),
    ("apply", "-f", "PLACE/empty"),
    ("apply", "-f", "PLACE/empty.yaml"),
    ("apply", "-f", "PLACE/latin.yaml"),
    ("apply", "-f", "PLACE/big.yaml"),
    ("apply", "-f", "PLACE/dangling.yaml"),
    ("apply", "-f", "PLACE/bomb.yaml"),
    ("apply", "-f", "PLACE/odd"),
    ("apply", "-f", "PLACE/loop.yaml"),
    ("apply", "-f", "PLACE/empty.yaml", "--dry-run=maybe"),
    ("validate", "-f", "/no/such/file.yaml"),
    ("run", "script.py"),
    ("run", "-p", "hello"),
    ("run", "-p", "hello", "/no/such/script.py"),
    ("run", "-p", "hello", "-c", "def"),
    ("run", "-p", "hello", "-c", "1"),
    ("get", "pools", "--kubeconfig", "/no/such/config"),
    ("get", "pools", "--kubeconfig", "PLACE/latin.yaml"),
    ("get", "pools", "--kubeconfig", "PLACE/empty.yaml"),
    ("kubeconfig", "--raw", "--kubeconfig", "/no/such/config"),
]
USAGE = [
    ("bogus",),
    ("get",),
    ("get", "pools", "--bogus"),
    ("scale", "pool", "hello", "--nodes", "-1"),
    ("apply",),
    ("wait", "x"),
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    (tmp_path / "latin.yaml").write_bytes("kind: Pool # é\n".encode("latin-1"))
    (tmp_path / "big.yaml").write_bytes(b"#" * (2 << 20))
    (tmp_path / "dangling.yaml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "odd" / "folder.yaml").mkdir(parents=True)
    (tmp_path / "odd" / "dangling.yaml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    bomb = "".join(
        f"{b}: &{b} [*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    (tmp_path / "bomb.yaml").write_text("a: &a [1]\n" + bomb)
    return tmp_path


@pytest.mark.parametrize("words", MISTAKES, ids=" ".join)
def test_a_mistake_is_one_line(world: World, skyctl: Skyctl, place: Path, words: tuple[str, ...]) -> None:
    world.put(make_pool())

    done = skyctl(*(word.replace("PLACE", str(place)) for word in words))

    assert done.status == 1
    assert done.out == ""
    assert (len(done.err.splitlines()), done.err[:7]) == (1, "error: "), done.err
    assert len(world.store.log) == 1


def test_validate_tells_of_what_is_named_like_a_manifest_and_is_none(skyctl: Skyctl, place: Path) -> None:
    done = skyctl("validate", "-f", place / "odd")

    assert (done.status, done.out.splitlines()) == (
        1,
        [
            f"{place}/odd/dangling.yaml: is a symbolic link to nothing; mend or remove it",
            f"{place}/odd/folder.yaml: is a directory, not a manifest; rename it",
        ],
    )


@pytest.mark.parametrize("words", USAGE, ids=" ".join)
def test_a_wrong_usage_is_exit_status_2(skyctl: Skyctl, words: tuple[str, ...]) -> None:
    done = skyctl(*words)

    assert (done.status, len(done.err.splitlines())) == (2, 1), done.err


def test_no_operator_is_one_line_with_the_remedy(
    world: World, config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text(config.read_text().replace(world.url, "https://127.0.0.1:1"))
    monkeypatch.setenv("SKYWARD_CONFIG", str(config))

    assert invoke(["get", "pools"]) == 1

    err = capsys.readouterr().err
    assert err.startswith("error: no operator answers at https://127.0.0.1:1")
    assert "skyctl up" in err


def test_v_says_more(skyctl: Skyctl) -> None:
    assert "Traceback" in skyctl("edit", "pool", "none", "-v").err


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("get pools -n team -v", "-n team -v get pools"),
        ("get pools --namespace=team", "--namespace=team get pools"),
        ("delete pool x --wait=false", "delete pool x --no-wait"),
        ("get pools --watch=true", "get pools --watch"),
        ("get pools --watch=false", "get pools"),
        ("run -p hello train.py -n 3 -v --wait=false", "run -p hello train.py -n 3 -v --wait=false"),
        ("run -n team -p hello train.py -v", "-n team run -p hello train.py -v"),
        ("-n team run -p hello -c code -v", "-n team -v run -p hello -c code"),
        ("run -p hello -c code arg -n 1", "run -p hello -c code arg -n 1"),
        ("get pools -n", "-n get pools"),
    ],
    ids=lambda value: value,
)
def test_global_options_may_stand_anywhere_but_a_scripts_are_its_own(given: str, meant: str) -> None:
    assert normalized(given.split()) == meant.split()
