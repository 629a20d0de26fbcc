"""What every verb has: the global options, the client they lead to, and how text reaches the user."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from skyward.errors import UserError

if TYPE_CHECKING:
    from skyward.client.config import ClientConfig
    from skyward.client.objects import ObjectClient


@dataclass(frozen=True, slots=True)
class Session:
    kubeconfig: Path | None
    given_namespace: str | None
    verbose: bool

    @staticmethod
    def of(ctx: typer.Context) -> Session:
        session = ctx.find_object(Session)
        assert session is not None, "the group's callback made it"
        return session

    def config_path(self) -> Path:
        from skyward.client.config import config_path

        return config_path(self.kubeconfig, os.environ)

    def config(self) -> ClientConfig:
        """Raises NoConfig with one line that says what to do."""
        from skyward.client.config import load_config

        return load_config(self.config_path())

    def client(self) -> ObjectClient:
        from skyward.client.objects import ObjectClient

        return ObjectClient(self.config())

    def namespace(self) -> str:
        """`-n`, else the configuration's."""
        return self.given_namespace or self.config().namespace


def say(text: str) -> None:
    """One line for the user, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """One line about what went wrong."""
    line = " ".join(clean(text).split())
    sys.stderr.write(f"error: {line}\n")
    sys.stderr.flush()


def remark(text: str) -> None:
    """One line beside the output, for the user's eyes."""
    sys.stderr.write(f"{clean(text)}\n")
    sys.stderr.flush()


def clean(text: str) -> str:
    """Text from elsewhere, without what could drive a terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else f"\\x{ord(char):02x}" for char in text)


def seconds(text: str, option: str) -> float:
    """Seconds of `30s`, `5m` or a plain number. Raises UserError."""
    from skyward.api.quantities import parse_duration

    try:
        return float(text) if text.replace(".", "", 1).isdigit() else parse_duration(text)
    except ValueError as error:
        raise UserError(f"{option}: {error}") from None
