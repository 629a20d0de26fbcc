"""What the script does when a real shell runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from skyward.api import ImageSpec, Json
from skyward.recipes import Entry, Mark, build_recipe, parse_line
from skyward.system.processes import SystemProcesses

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
BIN = Path(sys.executable).parent
PLAIN = "/usr/local/bin:/usr/bin:/bin"
AGENT = """\
import os, sys, time
home = sys.argv[sys.argv.index("--home") + 1]
with open(os.path.join(home, "agent.pid"), "w") as file:
    print(os.getpid(), file=file)
time.sleep(600)
"""
OPTIONAL = ("timeout", "flock", "setsid")


@dataclass(slots=True)
class Machine:
    """A home directory and an environment to run scripts in."""

    directory: Path
    path: str
    extra: dict[str, str] = field(default_factory=dict)
    name: str = "one"

    @property
    def home(self) -> Path:
        return self.directory / f"home-{self.name}"

    @property
    def ours(self) -> Path:
        return self.home / ".skyward"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "PATH": self.path,
            "SKYWARD_CACHE": str(self.directory / "cache"),
            "SKYWARD_PYTHON": sys.executable,
            "SKYWARD_INSTANCE": str(self.directory),
        } | self.extra

    def install(self, image: Json | None = None, *, agent: str = AGENT) -> None:
        made = build_recipe(ImageSpec.model_validate(image or {}), python=MINOR, provider="local")
        self.ours.mkdir(parents=True, exist_ok=True)
        (self.ours / "bootstrap.sh").write_text(made.script)
        (self.ours / "agent.pyz").write_text(agent)

    def begin(self, run: str = "r1") -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["sh", str(self.ours / "bootstrap.sh"), run],
            env=self.environment,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, image: Json | None = None, run: str = "r1", *, agent: str = AGENT) -> dict[str, Entry]:
        """Run a whole recipe: the last word on each step, and on the run under `-`."""
        self.install(image, agent=agent)
        with self.begin(run) as process:
            output, errors = process.communicate(timeout=60)
        assert errors == ""
        return last_words(output)

    def journal(self) -> dict[str, Entry]:
        return last_words((self.ours / "journal").read_text())


def last_words(text: str) -> dict[str, Entry]:
    entries = [entry for line in text.splitlines() if (entry := parse_line(line)) is not None]
    return {entry.step: entry for entry in entries if entry.mark is not Mark.TAIL}


def tail(text: str) -> list[str]:
    entries = [entry for line in text.splitlines() if (entry := parse_line(line)) is not None]
    return [entry.text for entry in entries if entry.mark is Mark.TAIL]


def wait_for(is_so: Callable[[], object], patience_s: float = 10.0) -> None:
    deadline = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    yield Machine(tmp_path, path=f"{BIN}:{PLAIN}")
    processes = SystemProcesses()
    wait_for(lambda: processes.kill_tree(None, marker=("SKYWARD_INSTANCE", str(tmp_path))) == 0)


def limited_path(directory: Path, *missing: str) -> str:
    """All the usual tools but these, so that the script must do without."""
    tools = directory / "tools"
    tools.mkdir()
    for folder in PLAIN.split(":"):
        for tool in Path(folder).iterdir():
            link = tools / tool.name
            if tool.name not in missing and not tool.name.startswith(("python", "uv", "pip")) and not link.is_symlink():
                link.symlink_to(tool)
    return str(tools)


# --- the run ---------------------------------------------------------------------------------------------------------


def test_a_run_ends_with_the_agent_started_in_the_environment(machine: Machine) -> None:
    words = machine.run()

    assert words["-"] == Entry("r1", "-", Mark.END, "ok")
    assert {step: word.mark for step, word in words.items() if step != "-"} == {
        step: Mark.OK for step in ("python", "environment", "image", "agent")
    }
    pid = int((machine.ours / "agent.pid").read_text())
    command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    assert command[:3] == [str(machine.ours / "env/bin/python"), str(machine.ours / "agent.pyz"), "run"]
    assert os.getsid(pid) == pid
    assert machine.journal() == words


def test_a_second_run_skips_what_is_done_and_starts_the_agent_again(machine: Machine) -> None:
    first = machine.run()

    again = machine.run(run="r2")

    assert [again[step].mark for step in ("python", "environment", "image")] == [Mark.SKIP] * 3
    assert again["python"].seconds == first["python"].seconds, "a skipped step tells what it took when it ran"
    assert again["agent"].mark is Mark.OK
    assert machine.journal()["-"].run == "r2"


def test_a_changed_image_is_done_from_the_change_on(machine: Machine) -> None:
    machine.run({"env": {"A": "1"}, "setup": ["echo one >>log"]})

    words = machine.run({"env": {"A": "2"}, "setup": ["echo one >>log"]})

    assert [words[step].mark for step in ("python", "environment", "setup-1")] == [Mark.SKIP, Mark.OK, Mark.OK]
    assert (machine.home / "log").read_text() == "one\none\n"


def test_a_lost_environment_is_made_again_although_it_was_done(machine: Machine) -> None:
    machine.run()
    shutil.rmtree(machine.directory / "cache" / "envs")

    assert machine.run()["python"].mark is Mark.OK


def test_setup_commands_see_the_images_environment_and_run_in_the_home(machine: Machine) -> None:
    command = 'pwd >seen; echo "$MODE" >>seen; command -v python >>seen'

    machine.run({"env": {"MODE": "it's $HOME"}, "setup": [command]})

    python = str(machine.ours / "env/bin/python")
    assert (machine.home / "seen").read_text().splitlines() == [str(machine.home), "it's $HOME", python]


def test_a_step_is_skipped_when_its_condition_already_holds(machine: Machine) -> None:
    steps = [{"run": "echo ran >>log", "unless": "test -f log"}, {"run": "echo ran >>log", "unless": "test -f nothing"}]
    machine.install()
    (machine.home / "log").write_text("")

    words = machine.run({"setup": steps})

    assert [words["setup-1"].mark, words["setup-2"].mark] == [Mark.SKIP, Mark.OK]
    assert (machine.home / "log").read_text() == "ran\n"


def test_files_and_variables_arrive_as_they_are(machine: Machine) -> None:
    content = "it's $HOME `date` \\n %s\nüñí\n\n"
    files = [
        {"path": "a b/c.txt", "content": content, "mode": "0640"},
        {"path": "run.sh", "content": "", "mode": "755"},
    ]

    machine.run({"files": files, "env": {"A": content}})

    assert (machine.home / "a b/c.txt").read_text() == content
    assert (machine.home / "a b/c.txt").stat().st_mode & 0o777 == 0o640
    assert (machine.home / "run.sh").stat().st_mode & 0o777 == 0o755
    assert json.loads((machine.ours / "environment").read_text()) == {"A": content}
    assert (machine.ours / "environment").stat().st_mode & 0o777 == 0o600


# --- failing ---------------------------------------------------------------------------------------------------------


def test_a_failing_step_ends_the_run_and_shows_its_last_lines(machine: Machine) -> None:
    machine.install({"setup": ["seq 100; echo 'no such thing' >&2; exit 9", "touch never"]})

    with machine.begin() as process:
        output, _ = process.communicate(timeout=60)

    words = last_words(output)
    assert process.returncode == 1
    assert words["setup-1"].mark is Mark.FAIL
    assert words["setup-1"].exit_status == 9
    assert words["-"] == Entry("r1", "-", Mark.END, "fail")
    assert tail(output) == [*(str(n) for n in range(82, 101)), "no such thing"]
    assert not (machine.home / "never").exists()


def test_a_failing_middle_line_fails_the_step(machine: Machine) -> None:
    assert machine.run({"setup": ["true\nfalse\ntrue"]})["setup-1"].mark is Mark.FAIL


def test_a_run_after_a_failure_goes_on_at_the_failed_step(machine: Machine) -> None:
    image: Json = {"setup": ["echo first >>log", "test -f cure && echo second >>log"]}
    assert machine.run(image)["setup-2"].mark is Mark.FAIL
    (machine.home / "cure").write_text("")

    words = machine.run(image)

    assert words["-"].text == "ok"
    assert (machine.home / "log").read_text() == "first\nsecond\n"


@pytest.mark.slow
@pytest.mark.parametrize("missing", [(), OPTIONAL], ids=["usual tools", "without timeout, flock, setsid"])
def test_a_step_past_its_deadline_is_killed_with_all_it_started(machine: Machine, missing: tuple[str, ...]) -> None:
    if missing:
        machine.path = f"{with_uv(machine)}:{limited_path(machine.directory, *missing)}"
    nap = f"98.{os.getpid()}"  # no other sleep on this host is called like this
    words = machine.run({"setup": [{"run": f"sleep {nap}", "timeout": "1s"}]})

    assert words["setup-1"].mark is Mark.FAIL
    assert words["setup-1"].exit_status == 124
    if not missing:
        assert f"sleep\0{nap}\0" not in command_lines()


def test_a_script_killed_in_a_step_is_resumed_at_that_step(machine: Machine) -> None:
    machine.install({"setup": ["echo one >>log", "echo two >>log; test -f cure || sleep 97"]})
    process = machine.begin()
    wait_for(lambda: (machine.home / "log").exists() and "two" in (machine.home / "log").read_text())
    SystemProcesses().kill_tree(None, marker=("SKYWARD_INSTANCE", str(machine.directory)))
    process.communicate()
    (machine.home / "cure").write_text("")

    with machine.begin("r2") as process:
        output, _ = process.communicate(timeout=60)

    assert last_words(output)["-"] == Entry("r2", "-", Mark.END, "ok")
    assert (machine.home / "log").read_text() == "one\ntwo\ntwo\n"


@pytest.mark.parametrize("missing", [(), OPTIONAL], ids=["usual tools", "without timeout, flock, setsid"])
def test_two_runs_never_overlap(machine: Machine, missing: tuple[str, ...]) -> None:
    if missing:
        machine.path = f"{with_uv(machine)}:{limited_path(machine.directory, *missing)}"
    machine.install({"setup": ["echo ran >>log; until test -f go; do sleep 0.02; done"]})
    with machine.begin("r1") as first:
        wait_for((machine.home / "log").exists)

        with machine.begin("r2") as second:
            output, _ = second.communicate(timeout=60)

        assert second.returncode == 75
        assert output == "skyward r2 - busy -\n"
        (machine.home / "go").write_text("")
        output, _ = first.communicate(timeout=60)
    assert last_words(output)["-"].text == "ok"
    assert (machine.home / "log").read_text() == "ran\n"
    assert machine.run({"setup": ["true"]}, "r3")["-"].text == "ok", "the lock is free again"


def test_a_stale_claim_is_taken_over_where_there_is_no_flock(machine: Machine) -> None:
    machine.path = f"{with_uv(machine)}:{limited_path(machine.directory, 'flock')}"
    machine.install()
    claim = machine.ours / "bootstrap.claim"
    claim.mkdir()
    (claim / "owner").write_text(f"{os.getpid()} 1\n")  # this number, but of another time

    assert machine.run()["-"].text == "ok"


def test_a_flood_of_output_does_not_fill_the_disk_and_its_end_is_kept(machine: Machine) -> None:
    machine.install({"setup": ["yes flood | head -c 50000000; echo; echo the end; exit 1"]})

    with machine.begin() as process:
        output, _ = process.communicate(timeout=60)

    assert tail(output)[-1] == "the end"
    assert sum(path.stat().st_size for path in (machine.ours / "steps").iterdir()) < 2_000_000


def test_a_daemon_started_by_setup_does_not_hold_the_run_up(machine: Machine) -> None:
    assert machine.run({"setup": ["sleep 96 & echo started"]})["-"].text == "ok"


def test_nobody_listening_does_not_disturb_the_run(machine: Machine) -> None:
    machine.install({"setup": ["yes | head -1 >piped"]})
    process = machine.begin()
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()

    process.stderr.read()
    process.stderr.close()

    assert process.wait(60) == 0
    assert machine.journal()["-"].text == "ok"


def test_an_agent_that_ends_at_once_fails_its_step_with_its_log(machine: Machine) -> None:
    machine.install(agent="raise SystemExit('this agent is broken')")

    with machine.begin() as process:
        output, _ = process.communicate(timeout=60)

    assert last_words(output)["agent"].mark is Mark.FAIL
    assert tail(output) == ["this agent is broken", "the agent ended as soon as it was started"]


def test_an_agent_that_already_runs_is_no_failure(machine: Machine) -> None:
    assert machine.run(agent="")["-"].text == "ok"


# --- the environment -------------------------------------------------------------------------------------------------


def with_uv(machine: Machine, log: bool = False) -> Path:
    """A folder with uv alone, that writes down what it was asked."""
    folder = machine.directory / "uv-bin"
    folder.mkdir()
    note = f'echo "$1" >>"{machine.directory}/uv-calls"; ' if log else ""
    (folder / "uv").write_text(f'#!/bin/sh\n{note}exec "{BIN}/uv" "$@"\n')
    (folder / "uv").chmod(0o755)
    return folder


def test_many_nodes_at_once_build_one_environment(machine: Machine) -> None:
    machine.path = f"{with_uv(machine, log=True)}:{PLAIN}"
    nodes = [Machine(machine.directory, machine.path, name=f"n{n}") for n in range(6)]
    for node in nodes:
        node.install()

    runs = [node.begin() for node in nodes]
    for run in runs:
        assert last_words(run.communicate(timeout=60)[0])["-"].text == "ok"

    assert (machine.directory / "uv-calls").read_text().split() == ["venv"]
    assert len({(node.ours / "env").resolve() for node in nodes}) == 1


def test_packages_come_from_where_the_hosts_pip_would_get_them(machine: Machine) -> None:
    wheels = make_wheel(machine.directory, "skytest", "1.0")
    config = machine.directory / "pip.conf"
    config.write_text(f"[global]\nno-index = true\n[install]\nfind-links =\n  {wheels}\n")
    machine.extra["PIP_CONFIG_FILE"] = str(config)

    words = machine.run({"pip": ["skytest"]})

    assert words["packages"].mark is Mark.OK
    probe = [str(machine.ours / "env/bin/python"), "-c", "import skytest; print(skytest.VERSION)"]
    assert subprocess.run(probe, capture_output=True, text=True, check=True).stdout == "1.0\n"


def test_the_images_own_index_options_are_used(machine: Machine) -> None:
    wheels = make_wheel(machine.directory, "skytest", "2.0")
    machine.extra["PIP_NO_INDEX"] = "1"
    image: Json = {"pip": {"findLinks": [str(wheels)]}, "requirements": "# ours\nskytest>=1\n"}

    assert machine.run(image)["packages"].mark is Mark.OK


def test_a_half_filled_environment_is_made_anew(machine: Machine) -> None:
    wheels = make_wheel(machine.directory, "skytest", "1.0")
    machine.extra |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    machine.run({"pip": ["skytest"]})
    env = (machine.ours / "env").resolve()
    (env / ".complete").rename(env / ".filling")
    (env / "rubbish").write_text("left by a killed run")
    other = Machine(machine.directory, machine.path, machine.extra, name="other")

    assert other.run({"pip": ["skytest"]})["-"].text == "ok"

    assert not (env / "rubbish").exists()
    assert (env / ".complete").exists()


def test_a_package_that_is_not_there_fails_with_uvs_words(machine: Machine) -> None:
    machine.extra["PIP_NO_INDEX"] = "1"
    machine.install({"pip": ["no-such-package"]})

    with machine.begin() as process:
        output, _ = process.communicate(timeout=60)

    assert last_words(output)["packages"].mark is Mark.FAIL
    assert any("no-such-package" in line for line in tail(output))


def test_a_python_that_is_not_to_be_had_is_said_with_the_remedy(machine: Machine) -> None:
    machine.extra["UV_PYTHON_DOWNLOADS"] = "never"
    machine.install({"python": "3.98"})

    with machine.begin() as process:
        output, _ = process.communicate(timeout=60)

    assert last_words(output)["python"].mark is Mark.FAIL
    assert any("Python 3.98 is not to be had" in line and "spec.image.python" in line for line in tail(output))


def test_a_node_with_neither_uv_nor_python_says_so(machine: Machine) -> None:
    machine.path = limited_path(machine.directory)
    machine.extra["SKYWARD_PYTHON"] = ""
    machine.install()

    with machine.begin() as process:
        output, _ = process.communicate(timeout=60)

    assert last_words(output)["python"].mark is Mark.FAIL
    assert any("neither uv nor a Python" in line for line in tail(output))


def make_wheel(directory: Path, name: str, version: str) -> Path:
    """A folder with one tiny pure wheel."""
    folder = directory / "wheels"
    folder.mkdir()
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return folder


def command_lines() -> set[str]:
    found = set()
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                found.add((path / "cmdline").read_text())
            except OSError:
                continue
    return found
