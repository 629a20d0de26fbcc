"""One connection to the task listener: dialled, greeted, and every way to fail turned into one clear error."""

from __future__ import annotations

import asyncio
import inspect
import ssl
from collections.abc import Callable
from typing import Any

from skyward import errors
from skyward.api import SERVER_NAME
from skyward.client.config import ClientConfig
from skyward.errors import OperatorUnreachable, SkyError, TaskError
from skyward_agent.wire.connection import FrameConnection
from skyward_agent.wire.messages import ClientHello, ClientWelcome, Refused

CONNECT_S = 10.0


async def dial(
    config: ClientConfig,
    *,
    python: str,
    on_message: Callable[[Any], None],
    welcomed: Callable[[ClientWelcome], None] = lambda welcome: None,
) -> FrameConnection:
    """A connection that was welcomed, and `welcomed` told how; what comes after the welcome goes to `on_message`.

    Raises OperatorUnreachable when nobody answers there, Unauthenticated when the token is not accepted.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Any] = loop.create_future()

    def on_answer(message: Any) -> None:
        connection.on_message = on_message
        answer.set_result(message)

    host, _, port = config.tasks.rpartition(":")
    connection = FrameConnection(on_answer)
    try:
        async with asyncio.timeout(CONNECT_S):
            await loop.create_connection(
                lambda: connection, host.strip("[]"), int(port), ssl=_ssl_context(config), server_hostname=SERVER_NAME
            )
            connection.send(ClientHello(token=config.token, python=python))
            closed = asyncio.ensure_future(connection.closed.wait())
            try:
                await asyncio.wait({answer, closed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                closed.cancel()
    except ssl.SSLError as error:
        raise OperatorUnreachable(
            f"the operator at {config.tasks} has another certificate than {config.path} says: read its configuration again"
        ) from error
    except (OSError, TimeoutError, ValueError) as error:
        raise unreachable(config) from error
    finally:
        if not answer.done():
            connection.abort()
            await connection.hang_up()
    if not answer.done():
        raise unreachable(config)
    match answer.result():
        case ClientWelcome() as welcome:
            welcomed(welcome)
            return connection
        case Refused() as refused:
            await connection.hang_up()
            raise refusal(refused)
        case _:
            await connection.hang_up()
            raise unreachable(config)


def unreachable(config: ClientConfig) -> OperatorUnreachable:
    return OperatorUnreachable(
        f"no operator answers at {config.tasks} (from {config.path}): start it, or name another configuration"
    )


def refusal(refused: Refused) -> SkyError:
    """The error that the operator named, as the class of `skyward.errors` it stands for."""
    kind = getattr(errors, refused.error, None)
    if inspect.isclass(kind) and issubclass(kind, SkyError):
        try:
            return kind(refused.message)
        except TypeError:  # a class that needs more than a message
            pass
    return TaskError(refused.message)


def _ssl_context(config: ClientConfig) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=config.ca_pem)
    except ssl.SSLError as error:
        raise OperatorUnreachable(f"the certificate authority in {config.path} cannot be read") from error
