from __future__ import annotations

import functools
import importlib.util
import pickle
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from skyward.errors import NotPicklable, PayloadTooLarge, UserError
from skyward.sdk.pickling import LIMIT_BYTES, name_of, own_modules, pickle_call, pickle_function


def fn(a: Any, b: Any = None, *rest: Any) -> Any:
    return a


class BadReduce:
    def __reduce__(self) -> Any:
        raise RuntimeError("secret\nsecond line")


def test_the_same_function_has_the_same_digest() -> None:
    assert pickle_function(fn) == pickle_function(fn)


def test_a_call_is_its_args_and_kwargs() -> None:
    assert pickle.loads(pickle_call(fn, (1,), {"b": [2]})) == ((1,), {"b": [2]})


@pytest.mark.parametrize(
    ("args", "kwargs", "label"),
    [
        ((BadReduce(),), {}, "argument 'a' of fn"),
        ((1,), {"b": BadReduce()}, "argument 'b' of fn"),
        ((1, 2, 3, BadReduce()), {}, "argument number 4 of fn"),
    ],
    ids=["positional", "keyword", "rest"],
)
def test_the_argument_that_cannot_be_sent_is_named_in_one_line(args: Any, kwargs: Any, label: str) -> None:
    with pytest.raises(NotPicklable) as caught:
        pickle_call(fn, args, kwargs)

    assert str(caught.value).startswith(f"{label} cannot be sent: RuntimeError")
    assert "\n" not in str(caught.value)


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(NotPicklable, match="is not a function"):
        pickle_function(7)  # type: ignore[arg-type]


def test_a_function_that_carries_too_much_says_so_before_it_is_sent() -> None:
    carried = bytes(LIMIT_BYTES + 1)

    with pytest.raises(PayloadTooLarge, match="pass what it carries as an argument"):
        pickle_function(lambda: carried)


@pytest.mark.parametrize(
    ("function", "name"),
    [(fn, "fn"), (functools.partial(fn, 1), "fn"), (BadReduce(), "BadReduce"), (len, "len")],
    ids=["function", "partial", "object", "builtin"],
)
def test_functions_have_names_for_people(function: Any, name: str) -> None:
    assert name_of(function) == name


SCRIPT = """
import sys
sys.path.insert(0, {root!r})
import beside
import package.inner
import json
from skyward.sdk.pickling import pickle_function
import cloudpickle

def call():
    return beside.double(package.inner.VALUE), json.dumps([1])

before = cloudpickle.list_registry_pickle_by_value()
digest, data = pickle_function(call)
assert cloudpickle.list_registry_pickle_by_value() == before
open({out!r}, "wb").write(data)
"""


@pytest.mark.slow
def test_modules_beside_the_script_travel_with_the_function(tmp_path: Path) -> None:
    home, away = tmp_path / "home", tmp_path / "away"
    (home / "package").mkdir(parents=True)
    away.mkdir()
    (home / "beside.py").write_text("FACTOR = 2\ndef double(x):\n    return x * FACTOR\n")
    (home / "package" / "__init__.py").write_text("")
    (home / "package" / "inner.py").write_text("VALUE = 21\n")
    (home / "script.py").write_text(SCRIPT.format(root=str(home), out=str(away / "call.pickle")))
    subprocess.run([sys.executable, str(home / "script.py")], check=True, cwd=tmp_path)

    load = "import pickle; print(pickle.load(open('call.pickle', 'rb'))())"
    answer = subprocess.run([sys.executable, "-c", load], check=True, cwd=away, capture_output=True, text=True)

    assert answer.stdout.strip() == "(42, '[1]')"


def helper_module(path: Path, name: str) -> Any:
    """A module that is installed nowhere, loaded from outside the program's directory."""
    file = path / f"{name}.py"
    file.write_text(
        "FACTOR = 3\ndef triple(x):\n    return x * FACTOR\nclass Box:\n    def __init__(self, x): self.x = x\n"
    )
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


LOAD = "import pickle; f, (args, kwargs) = map(pickle.loads, open({!r}, 'rb').read().split(b'|||')); print(f(*args).x)"


@pytest.mark.slow
def test_modules_that_are_named_travel_by_value(tmp_path: Path) -> None:
    module = helper_module(tmp_path, "own_helpers")
    file = tmp_path / "call.pickle"
    registered = cloudpickle.list_registry_pickle_by_value()
    modules = own_modules(["own_helpers"])

    def call(box: Any) -> Any:
        box.x = module.triple(box.x)
        return box

    by_name = pickle_function(call)[1] + b"|||" + pickle_call(call, (module.Box(2),), {})
    file.write_bytes(by_name)
    load = [sys.executable, "-c", LOAD.format(str(file))]
    assert "No module named 'own_helpers'" in subprocess.run(load, check=False, capture_output=True, text=True).stderr

    file.write_bytes(pickle_function(call, modules)[1] + b"|||" + pickle_call(call, (module.Box(2),), {}, modules))
    assert subprocess.run(load, check=True, capture_output=True, text=True).stdout == "6\n"
    assert cloudpickle.list_registry_pickle_by_value() == registered, "named for this call alone"


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("no_such_module", "cannot be imported"),
        (7, "neither a module"),
        (types.ModuleType("made_up"), "not an imported"),
    ],
)
def test_modules_that_are_none_are_refused(named: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        own_modules([named])
