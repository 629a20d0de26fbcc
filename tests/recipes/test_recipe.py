"""What recipes say: steps, hashes, quoting, and one script for people to read."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from skyward.api import ImageSpec, Json
from skyward.errors import Invalid
from skyward.recipes import Entry, Mark, Recipe, Step, build_recipe, parse_line, quote

GOLDEN = Path(__file__).parent / "golden" / "numpy.sh"
"""Regenerate with SKYWARD_REGENERATE=1 and review it as text."""


def recipe(image: Json | None = None, *, provider: str = "local", python: str = "3.11") -> Recipe:
    return build_recipe(ImageSpec.model_validate(image or {}), python=python, provider=provider)


EVERYTHING: Json = {
    "apt": ["git"],
    "pip": {
        "packages": ["numpy"],
        "indexUrl": "https://a/simple",
        "extraIndexUrls": ["https://b"],
        "findLinks": ["/w"],
    },
    "requirements": "rich\n",
    "env": {"MODE": "test"},
    "files": [{"path": "etc/app.ini", "content": "x = 1\n"}],
    "setup": [{"run": "make", "unless": "test -f built", "timeout": "90s"}, "true"],
}


def test_steps_come_in_one_order_and_end_with_the_agent() -> None:
    ids = [step.id for step in recipe(EVERYTHING, provider="verda").steps]

    assert ids == ["apt", "python", "packages", "environment", "files", "setup-1", "setup-2", "image", "agent"]


def test_an_empty_image_needs_no_packages_step() -> None:
    assert [step.id for step in recipe().steps] == ["python", "environment", "image", "agent"]


def test_the_same_image_gives_the_same_script() -> None:
    assert recipe(EVERYTHING, provider="aws") == recipe(EVERYTHING, provider="aws")


@pytest.mark.parametrize(
    ("image", "is_same"),
    [
        ({"pip": ["numpy"], "env": {"A": "1"}}, True),
        ({"pip": ["numpy"], "files": [{"path": "a", "content": ""}]}, True),
        ({"pip": ["numpy", "rich"]}, False),
        ({"pip": {"packages": ["numpy"], "indexUrl": "https://a"}}, False),
        ({"pip": ["numpy"], "requirements": "rich"}, False),
        ({"pip": ["numpy"], "python": "3.12"}, False),
    ],
    ids=["variables", "files", "packages", "index", "requirements", "python"],
)
def test_an_environment_is_shared_exactly_by_images_with_the_same_packages(image: Json, is_same: bool) -> None:
    assert (recipe(image).env_hash == recipe({"pip": ["numpy"]}).env_hash) is is_same


def test_setup_commands_make_the_environment_the_nodes_own() -> None:
    assert 'TARGET="$CACHE/envs/' in recipe({"pip": ["numpy"]}).script
    assert 'TARGET="$S/envs/' in recipe({"pip": ["numpy"], "setup": ["true"]}).script


def test_a_changed_step_is_done_again_with_all_that_follow_it() -> None:
    before = calls(recipe({"setup": ["one", "two"], "env": {"A": "1"}}))
    after = calls(recipe({"setup": ["one", "TWO"], "env": {"A": "1"}}))

    assert {step for step in before if before[step] != after[step]} == {"setup-2", "image", "agent"}


def test_the_images_own_python_stands_above_the_operators() -> None:
    assert "PYTHON='3.12'" in recipe({"python": "3.12"}, python="3.11").script
    assert "PYTHON='3.11'" in recipe(python="3.11").script


def test_deadlines_come_from_the_step() -> None:
    assert {step.id: step.deadline_s for step in recipe(EVERYTHING, provider="aws").steps}["setup-1"] == 90


def test_system_packages_are_refused_where_nodes_share_the_host() -> None:
    with pytest.raises(Invalid, match="share this host") as refused:
        build_recipe(ImageSpec(apt=("git",)), python="3.11", provider="local")

    assert refused.value.causes[0][0] == "spec.image.apt"


@pytest.mark.parametrize(
    ("image", "field"),
    [
        ({"env": {"A": "a\0b"}}, "spec.image.env.A"),
        ({"files": [{"path": "a", "content": "\0"}]}, "spec.image.files[0].content"),
        ({"files": [{"path": "a\0", "content": ""}]}, "spec.image.files[0].path"),
        ({"setup": ["echo \0"]}, "spec.image.setup[0].run"),
        ({"pip": ["a\0"]}, "spec.image.pip[0]"),
    ],
    ids=["variable", "content", "path", "setup", "package"],
)
def test_what_no_script_can_hold_is_refused_by_field(image: Json, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        recipe(image)

    assert refused.value.causes[0][0] == field


def test_half_a_character_is_refused() -> None:
    with pytest.raises(Invalid, match="Unicode"):
        quote("\ud800")


@pytest.mark.parametrize("name", ["A-B", "1A", "A;true", "A\n", "", "$(id)", "A B"])
def test_a_name_that_cannot_be_exported_is_refused(name: str) -> None:
    image = ImageSpec.model_construct(**{**ImageSpec().__dict__, "env": {name: "x"}})

    with pytest.raises(Invalid, match="environment variable"):
        build_recipe(image, python="3.11", provider="local")


@pytest.mark.parametrize("bad", ["", "A", "a b", "a--b", "-a", "a;b", "1a"])
def test_a_step_id_is_a_plain_word(bad: str) -> None:
    with pytest.raises(ValueError, match="step id"):
        Step(id=bad, title="t", script="true\n", deadline_s=1)


# --- quoting ---------------------------------------------------------------------------------------------------------

HOSTILE = [
    "",
    " ",
    "'",
    "''",
    "'\\''",
    '"',
    "\\",
    "\\n",
    "$(touch CANARY)",
    "`touch CANARY`",
    "; touch CANARY",
    "'; touch CANARY; '",
    "\n touch CANARY\n",
    "| touch CANARY &",
    "$HOME",
    "${HOME}",
    "*",
    "~",
    "!",
    "#",
    "-n",
    "--",
    "%s%n",
    "\r\n\t\v\x1b[31m",
    "ünïcödé 🚀",
    "\nEOF\n",
]


def random_texts(seed: int, count: int) -> list[str]:
    chance = random.Random(seed)
    alphabet = "'\"\\$`;|&<>(){}[]*?~!#%\n\t =aZ0é-touch CANARY"
    return ["".join(chance.choices(alphabet, k=chance.randrange(1, 40))) for _ in range(count)]


def shells() -> list[str]:
    return [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]


@pytest.mark.parametrize("shell", shells())
def test_quoted_text_is_one_word_that_means_itself(shell: str, tmp_path: Path) -> None:
    texts = HOSTILE + random_texts(seed=1, count=400)
    script = "".join(f"printf '%s\\0' {quote(text)}\n" for text in texts)
    command = [shell, "sh"] if shell == "busybox" else [shell]

    done = subprocess.run([*command, "-s"], input=script.encode(), capture_output=True, cwd=tmp_path, check=True)

    assert done.stdout.decode().split("\0")[:-1] == texts
    assert list(tmp_path.iterdir()) == []


def test_every_interpolated_value_is_quoted(tmp_path: Path) -> None:
    """Hostile values in every field of the image: a shell that reads the whole script runs none of them."""
    for number, text in enumerate(["'; touch CANARY; '", "$(touch CANARY)", "\ntouch CANARY\n", "`touch CANARY`"]):
        image: Json = {
            "pip": {"packages": [text], "indexUrl": text, "extraIndexUrls": [text], "findLinks": [text]},
            "requirements": text,
            "env": {"A": text},
            "files": [{"path": text, "content": text}],
            "setup": [{"run": f"true {quote(text)}", "name": text, "unless": f"false {quote(text)}"}],
        }
        script = tmp_path / f"script-{number}.sh"
        script.write_text(recipe(image).script)
        subprocess.run(["sh", "-n", str(script)], check=True)
        # Everything is defined, no step is run: `--step` names one that does nothing.
        script.write_text(recipe(image).script.replace("in_image() {", "step_nothing() { :; }\nin_image() {", 1))
        env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
        subprocess.run(["sh", str(script), "--step", "nothing"], env=env, cwd=tmp_path, check=True)
        assert not (tmp_path / "CANARY").exists()


@pytest.mark.parametrize("shell", shells())
def test_the_script_is_correct_for_every_shell_at_hand(shell: str, tmp_path: Path) -> None:
    script = tmp_path / "script.sh"
    script.write_text(recipe(EVERYTHING, provider="aws").script)
    command = [shell, "sh"] if shell == "busybox" else [shell]

    subprocess.run([*command, "-n", str(script)], check=True)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed here")
def test_shellcheck_finds_no_error(tmp_path: Path) -> None:
    script = tmp_path / "script.sh"
    script.write_text(recipe(EVERYTHING, provider="aws").script)

    subprocess.run(["shellcheck", "--severity=error", "--shell=sh", str(script)], check=True)


def test_the_golden_script_is_fresh() -> None:
    script = recipe({"pip": ["numpy"], "env": {"OMP_NUM_THREADS": "1"}, "setup": ["echo hello"]}).script
    if os.environ.get("SKYWARD_REGENERATE"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(script)

    assert GOLDEN.read_text() == script, "run with SKYWARD_REGENERATE=1 and review the difference"


# --- journal ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        ("skyward r1 python ok 1.25\n", Entry("r1", "python", Mark.OK, "1.25")),
        ("skyward r1 setup-1 tail  two  spaces", Entry("r1", "setup-1", Mark.TAIL, " two  spaces")),
        ("skyward r1 setup-1 tail ", Entry("r1", "setup-1", Mark.TAIL, "")),
        ("skyward r1 - busy -", Entry("r1", "-", Mark.BUSY, "-")),
        ("Welcome to Debian", None),
        ("skyward r1 python dance 1", None),
        ("", None),
    ],
)
def test_journal_lines_are_told_from_chatter(line: str, entry: Entry | None) -> None:
    assert parse_line(line) == entry


def test_a_failure_has_its_seconds_and_status() -> None:
    entry = Entry("r1", "python", Mark.FAIL, "12.50 124")

    assert (entry.seconds, entry.exit_status) == (12.5, 124)


def calls(made: Recipe) -> dict[str, str]:
    """Step ids and the hashes their marks carry."""
    lines = [line.split() for line in made.script.splitlines() if line.startswith("step ")]
    return {words[1]: words[3] for words in lines}
