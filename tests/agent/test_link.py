"""The spool, the outbox, output buffers and identity files, without a connection."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skyward_agent.link.identity import CredentialFile, IdentityError, gateway_address, load_identity
from skyward_agent.link.outbox import OUTPUT_BYTES, Outbox
from skyward_agent.link.spool import Spool
from skyward_agent.runner.output import PENDING_BYTES, OutputBuffer
from skyward_agent.wire import messages as wire
from skyward_agent.wire.frames import FrameError, decode, encode
from skyward_agent.wire.messages import AttemptId, Output, Outputs, Report, Reports, Started, Want
from skyward_agent.wire.stream import FrameSplitter, joined

ONE = AttemptId("task", 1, 1, "secret")
TWO = AttemptId("task", 2, 1, "secret")


def report(attempt: AttemptId, value: bytes = b"value") -> Report:
    return Report(attempt, wire.SUCCEEDED, value)


def output(attempt: AttemptId, sequence: int, data: bytes) -> Output:
    return Output(attempt.task, attempt.item, attempt.attempt, sequence, "stdout", data)


# --- spool -----------------------------------------------------------------------------------------------------------


def test_spooled_reports_are_there_for_the_next_incarnation_until_removed(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.load()
    spool.apply([report(ONE), report(TWO)])
    spool.apply([ONE])

    assert Spool(tmp_path / "spool").load() == (report(TWO),)


@pytest.mark.slow
def test_ten_thousand_reports_survive_and_go_when_they_are_acknowledged(tmp_path: Path) -> None:
    reports = [report(AttemptId("task", number, 1, "secret")) for number in range(10_000)]
    first = Spool(tmp_path / "spool")
    first.load()
    first.apply(reports)

    spool = Spool(tmp_path / "spool")
    found = spool.load()
    spool.apply([one.id for one in found[1:]])

    assert {one.id for one in found} == {one.id for one in reports}
    assert Spool(tmp_path / "spool").load() == (found[0],)


def test_a_report_that_was_acknowledged_meanwhile_is_not_written(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.load()
    spool.apply([report(ONE), ONE])

    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize("damage", [b"", b"garbage", None], ids=["empty", "garbage", "flipped-byte"])
def test_a_damaged_report_is_dropped_and_never_delivered(tmp_path: Path, damage: bytes | None) -> None:
    spool = Spool(tmp_path / "spool")
    spool.load()
    spool.apply([report(ONE), report(TWO)])
    path = min((tmp_path / "spool").iterdir())
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data) if damage is None else damage)

    assert len(Spool(tmp_path / "spool").load()) == 1
    assert len(list((tmp_path / "spool").iterdir())) == 1


def test_a_disk_that_takes_no_report_is_survived(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.load()
    (tmp_path / "spool").rmdir()

    spool.apply([report(ONE)])

    assert not (tmp_path / "spool").exists()


# --- outbox ----------------------------------------------------------------------------------------------------------


def test_what_is_said_in_one_turn_travels_merged_and_in_order() -> None:
    outbox = Outbox()
    outbox.put(Want(1))
    outbox.put_report(report(ONE))
    outbox.put_report(report(TWO))
    outbox.put_outputs([output(ONE, 0, b"x")])
    outbox.put(Started((ONE,)))
    outbox.put(Started((TWO,)))
    outbox.put(Want(2))

    assert outbox.take() == [
        Started((ONE, TWO)),
        Outputs((output(ONE, 0, b"x"),)),
        Reports((report(ONE), report(TWO))),
        Want(2),
    ]
    assert outbox.take() == []


def test_a_report_waits_for_all_output_before_it() -> None:
    outbox = Outbox()
    piece = b"x" * (OUTPUT_BYTES // 2 - 1)
    outbox.put_outputs(output(ONE, number, piece) for number in range(2))
    outbox.put_report(report(ONE))
    outbox.put_outputs([output(TWO, 0, b"last")])

    kinds = []
    while messages := outbox.take():
        kinds += [type(message) for message in messages]

    assert kinds.index(Reports) > max(index for index, kind in enumerate(kinds) if kind is Outputs)


def test_output_for_an_absent_gateway_is_bounded_and_what_went_is_marked() -> None:
    outbox = Outbox()
    outbox.put_outputs(output(ONE, number, b"x" * 1024 * 1024) for number in range(6))

    (message,) = [*outbox.take()]

    assert isinstance(message, Outputs)
    marker, *rest = message.outputs
    assert marker.data == f"\n[… {2 * 1024 * 1024} bytes dropped]\n".encode()
    assert marker.sequence == 1
    assert [kept.sequence for kept in rest] == [2, 3, 4, 5]


def test_after_a_lost_connection_only_output_is_left() -> None:
    outbox = Outbox()
    outbox.put(Want(1))
    outbox.put_report(report(ONE))
    outbox.put_outputs([output(ONE, 0, b"x")])

    outbox.forget_connection()

    assert outbox.take() == [Outputs((output(ONE, 0, b"x"),))]


def test_large_reports_do_not_share_a_frame() -> None:
    outbox = Outbox()
    big = b"x" * (64 * 1024 * 1024)
    outbox.put_report(report(ONE, big))
    outbox.put_report(report(TWO, big))

    assert [len(message.reports) for message in (*outbox.take(), *outbox.take()) if isinstance(message, Reports)] == [
        1,
        1,
    ]


# --- output ----------------------------------------------------------------------------------------------------------


def test_small_writes_are_merged_and_streams_keep_their_order() -> None:
    buffer = OutputBuffer(ONE, wanted=True)
    for stream, data in [("stdout", b"a"), ("stdout", b"b"), ("stderr", b"c"), ("stdout", b"d")]:
        buffer.add(stream, data)

    taken = buffer.take()

    assert [(piece.stream, piece.data) for piece in taken] == [("stdout", b"ab"), ("stderr", b"c"), ("stdout", b"d")]
    assert [piece.sequence for piece in taken] == [0, 1, 2]


def test_a_flood_keeps_its_end_behind_a_gap_and_a_marker_line() -> None:
    buffer = OutputBuffer(ONE, wanted=True)
    buffer.add("stdout", b"begun")
    buffer.take()
    for _ in range(100):
        buffer.add("stdout", b"x" * 65536)
    buffer.add("stdout", b"the end")

    taken = buffer.take()

    assert taken[0].sequence == 2
    assert taken[0].data.startswith(b"\n[")
    assert taken[0].data.endswith(b" bytes dropped]\n")
    assert sum(len(piece.data) for piece in taken) <= PENDING_BYTES + 100
    assert taken[-1].data.endswith(b"the end")


def test_output_that_nobody_reads_leaves_only_its_last_words() -> None:
    buffer = OutputBuffer(ONE, wanted=False)
    buffer.add("stdout", b"x" * 10_000 + b"\nlast words\n")

    assert buffer.take() == []
    assert buffer.tail.endswith("last words")
    assert len(buffer.tail) <= 2048


# --- stream ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_frames_are_whole_however_they_arrive(size: int) -> None:
    messages = [Want(1), Reports((report(ONE, b"v" * 100), report(TWO))), Started(())]
    data = b"".join(part for message in messages for part in encode(message))
    splitter = FrameSplitter()

    got = [decode(frame) for start in range(0, len(data), size) for frame in splitter.feed(data[start : start + size])]

    assert got == messages


def test_a_frame_over_the_limit_is_refused_before_it_is_taken_in() -> None:
    data = b"".join(encode(Reports((report(ONE, b"v" * 1000),))))

    with pytest.raises(FrameError, match="over this connection's limit"):
        list(FrameSplitter(limit_bytes=500).feed(data[:10]))


def test_joining_changes_no_byte_and_copies_no_large_part() -> None:
    large = b"L" * 100_000
    parts = [b"a", b"b", large, b"c"]

    pieces = joined(parts)

    assert pieces == [b"ab", large, b"c"]
    assert pieces[1] is large


# --- identity --------------------------------------------------------------------------------------------------------


def identity(home: Path, **changes: object) -> None:
    values: dict[str, object] = {
        "node": "uid",
        "name": "n",
        "endpoint": "h:1",
        "server_name": "s",
        "ca": "PEM",
        "join_token": "t",
    }
    (home / "agent.json").write_text(json.dumps({**values, **changes}))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"node": 1}', "\udcff"], ids=["empty", "list", "no-fields", "few", "binary"]
)
def test_a_broken_identity_is_one_line_with_the_remedy(tmp_path: Path, text: str) -> None:
    (tmp_path / "agent.json").write_bytes(text.encode(errors="surrogateescape"))

    with pytest.raises(IdentityError, match=r"agent\.json") as raised:
        load_identity(tmp_path)

    assert "\n" not in str(raised.value)
    assert "bootstrap this node again" in str(raised.value)


def test_the_endpoint_file_wins_over_the_identity(tmp_path: Path) -> None:
    identity(tmp_path, endpoint="[::1]:7")

    before = gateway_address(tmp_path, load_identity(tmp_path))
    (tmp_path / "endpoint").write_text("127.0.0.1:8\n")

    assert before == ("::1", 7)
    assert gateway_address(tmp_path, load_identity(tmp_path)) == ("127.0.0.1", 8)


def test_an_endpoint_without_a_port_is_refused(tmp_path: Path) -> None:
    identity(tmp_path, endpoint="nowhere")

    with pytest.raises(IdentityError, match="HOST:PORT"):
        gateway_address(tmp_path, load_identity(tmp_path))


def test_the_credential_is_for_its_owner_only(tmp_path: Path) -> None:
    credential = CredentialFile(tmp_path)
    credential.write("secret")

    assert credential.read() == "secret"
    assert (tmp_path / "credential").stat().st_mode & 0o777 == 0o600
    credential.remove()
    assert credential.read() == ""
