from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from skyward.settings import Settings, default_cache, default_state, split_address


def test_each_setting_is_also_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYWARD_LISTEN", "127.0.0.1:1")
    monkeypatch.setenv("SKYWARD_LOG__FORMAT", "json")
    monkeypatch.setenv("SKYWARD_INTAKE__POLL_S", "3")

    settings = Settings()

    assert (settings.listen, settings.log.format, settings.intake.poll_s) == ("127.0.0.1:1", "json", 3.0)


def test_an_argument_wins_over_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYWARD_LISTEN", "127.0.0.1:1")

    assert Settings(listen="127.0.0.1:2").listen == "127.0.0.1:2"


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Settings(speed="fast")  # type: ignore[call-arg]


@pytest.mark.parametrize("value", ["", "6780", ":6780", "host:", "host:x", "host:70000"])
def test_what_is_not_an_address_is_refused_with_the_form_to_use(value: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        split_address(value)


def test_addresses_of_both_families_are_taken_apart() -> None:
    assert split_address("127.0.0.1:6780") == ("127.0.0.1", 6780)
    assert split_address("[::1]:0") == ("::1", 0)


def test_default_places_follow_the_base_directories() -> None:
    assert default_state({"XDG_STATE_HOME": "/s"}) == Path("/s/skyward")
    assert default_state({"HOME": "/h"}) == Path("/h/.local/state/skyward")
    assert default_cache({"XDG_CACHE_HOME": "/c"}) == Path("/c/skyward")
    assert default_cache({"HOME": "/h"}) == Path("/h/.cache/skyward")
