"""From an image spec to steps: the order is Python, packages, environment, files, setup, checkpoint, agent."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator

from skyward.api import ImageSpec, PipSpec, SetupStep
from skyward.api.quantities import parse_duration
from skyward.errors import Invalid
from skyward.recipes.pip_settings import PIP_SETTINGS
from skyward.recipes.quoting import check_env_name, quote
from skyward.recipes.render import render
from skyward.recipes.steps import Recipe, Step

_ENV_IS_THERE = '[ -x "$S/env/bin/python" ]'
_SHARED_HOST = "local"
_IN_IMAGE = 'in_image\ncd "$HOME"\n'

_AGENT = """\
cd "$HOME"
[ -f "$S/agent.pyz" ] || die "the agent file $S/agent.pyz was not uploaded"
(detach "$S/env/bin/python" "$S/agent.pyz" run --home "$S") </dev/null >>"$S/agent.log" 2>&1 &
agent=$!
tries=0
while kill -0 "$agent" 2>/dev/null; do
  { read -r pid <"$S/agent.pid"; } 2>/dev/null || pid=
  if [ "$pid" = "$agent" ] || [ "$tries" -ge 20 ]; then exit 0; fi
  tries=$((tries + 1))
  sleep 0.05
done
if wait "$agent"; then exit 0; fi # another one runs already
tail -n 20 "$S/agent.log" >&2
die "the agent ended as soon as it was started"
"""


def build_recipe(image: ImageSpec, *, python: str, provider: str) -> Recipe:
    """The steps that make a fresh machine of this provider run the agent with this image, and their script.

    `python` is the minor version for an image that names none. Raises Invalid, naming the field, for values that no
    script can hold.
    """
    version = image.python or python
    env_hash = _env_hash(image, version)
    # Setup commands may change the environment, so it is then the node's own and not the host's shared one.
    place = "$S/envs" if image.setup else "$CACHE/envs"
    steps = tuple(_steps(image, provider))
    return Recipe(
        steps=steps,
        script=render(
            steps, python=version, env_hash=env_hash, target=f"{place}/{env_hash}", in_image=_in_image(image)
        ),
        env_hash=env_hash,
    )


def _env_hash(image: ImageSpec, version: str) -> str:
    content = [version, image.pip.model_dump(mode="json"), image.requirements]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _has_packages(image: ImageSpec) -> bool:
    return bool(image.pip.packages or (image.requirements or "").strip())


def _steps(image: ImageSpec, provider: str) -> Iterator[Step]:
    if image.apt:
        yield _apt(image.apt, provider)
    yield _python(is_all=not _has_packages(image))
    if _has_packages(image):
        yield _packages(image.pip, image.requirements)
    yield _environment(image.env)
    if image.files:
        yield _files(image)
    for number, setup in enumerate(image.setup):
        yield _setup(number, setup)
    yield Step(
        id="image",
        title="check the image",
        script='"$S/env/bin/python" -S -E -c "" || die "the Python environment $S/env does not run"\n',
        deadline_s=60,
        check=_ENV_IS_THERE,
        checkpoint=True,
    )
    yield Step(id="agent", title="start the agent", script=_AGENT, deadline_s=60, always=True)


def _apt(packages: tuple[str, ...], provider: str) -> Step:
    if provider == _SHARED_HOST:
        why = "local nodes share this host and must not change its packages; install them on the host yourself"
        raise Invalid(f"spec.image.apt: {why}", (("spec.image.apt", why),))
    words = " ".join(quote(package, f"spec.image.apt[{i}]") for i, package in enumerate(packages))
    script = f"""\
export DEBIAN_FRONTEND=noninteractive
sudo=
[ "$(id -u)" = 0 ] || sudo="sudo -n"
tries=0
until $sudo apt-get -q -o DPkg::Lock::Timeout=300 update; do
  tries=$((tries + 1))
  [ "$tries" -lt 5 ] || die "apt-get update failed five times"
  sleep 10
done
$sudo apt-get -qy -o DPkg::Lock::Timeout=300 install --no-install-recommends -- {words}
"""
    return Step(id="apt", title="install system packages", script=script, deadline_s=1200)


def _python(*, is_all: bool) -> Step:
    """`is_all`: nothing else goes into the environment, so it is complete when it is made."""
    mark = "complete" if is_all else "made"
    script = f"""\
mkdir -p "${{TARGET%/*}}"
acquire "$TARGET.lock"
if ! env_has complete && ! env_has {mark}; then
  make_env
  : >"$TARGET/.{mark}"
fi
"""
    if is_all:
        script += "use_env\n"
    check = _ENV_IS_THERE if is_all else f"env_has complete || env_has {mark}"
    return Step(id="python", title="make the Python environment", script=script, deadline_s=900, check=check)


def _packages(pip: PipSpec, requirements: str | None) -> Step:
    words = []
    for flag, field, values in (
        ("--default-index", "indexUrl", (pip.index_url,) if pip.index_url else ()),
        ("--index", "extraIndexUrls", pip.extra_index_urls),
        ("--find-links", "findLinks", pip.find_links),
    ):
        words += [f"{flag} {quote(value, f'spec.image.pip.{field}')}" for value in values]
    prepare = ""
    if requirements and requirements.strip():
        prepare = f"  put .skyward/requirements.txt 600 {quote(requirements, 'spec.image.requirements')}\n"
        words.append('--requirements "$S/requirements.txt"')
    if pip.packages:
        words.append("--")
        words += [quote(name, f"spec.image.pip[{i}]") for i, name in enumerate(pip.packages)]
    script = f"""\
acquire "$TARGET.lock"
if ! env_has complete; then
  # Marked while it is filled: what a killed run left half full is made anew.
  if ! env_has made || [ -e "$TARGET/.filling" ]; then make_env; else find_uv; fi
  : >"$TARGET/.filling"
{prepare}\
  settings=$("$TARGET/bin/python" -c {quote(PIP_SETTINGS)})
  eval "$settings"
  "$UV" pip install --python "$TARGET/bin/python" {" ".join(words)}
  mv "$TARGET/.filling" "$TARGET/.complete"
fi
use_env
"""
    return Step(id="packages", title="install packages", script=script, deadline_s=1800, check=_ENV_IS_THERE)


def _environment(env: dict[str, str]) -> Step:
    for name in env:
        check_env_name(name, "spec.image.env")
    content = json.dumps(env, sort_keys=True)
    script = f"put .skyward/environment 600 {quote(content, 'spec.image.env')}\n"
    return Step(id="environment", title="write the environment", script=script, deadline_s=30)


def _in_image(image: ImageSpec) -> str:
    """Body of the function that gives setup commands the image's environment."""
    lines = [
        f"export {check_env_name(name, 'spec.image.env')}={quote(value, f'spec.image.env.{name}')}"
        for name, value in sorted(image.env.items())
    ]
    return "\n".join([*lines, 'export VIRTUAL_ENV="$S/env" PATH="$S/env/bin:$PATH"'])


def _files(image: ImageSpec) -> Step:
    lines = []
    for number, file in enumerate(image.files):
        field = f"spec.image.files[{number}]"
        words = (quote(file.path, f"{field}.path"), file.mode, quote(file.content, f"{field}.content"))
        lines.append(f"put {' '.join(words)}\n")
    return Step(id="files", title="write files", script="".join(lines), deadline_s=60)


def _setup(number: int, setup: SetupStep) -> Step:
    field = f"spec.image.setup[{number}]"
    return Step(
        id=f"setup-{number + 1}",
        title=setup.name or setup.run,
        script=f"{_IN_IMAGE}sh -ec {quote(setup.run, f'{field}.run')}\n",
        unless=f"{_IN_IMAGE}sh -c {quote(setup.unless, f'{field}.unless')}\n" if setup.unless else "",
        deadline_s=max(1, math.ceil(parse_duration(setup.timeout))),
    )
