from __future__ import annotations

from skyward.bootstrap.report import Report

RUN = """\
Welcome to this machine!
skyward r1 - run abc
skyward r1 python start make the Python environment
skyward r1 python ok 1.50
skyward r1 setup-1 start pip install x
skyward r1 setup-1 fail 2.00 9
skyward r1 setup-1 tail first line
skyward r1 setup-1 tail \x1b[31msecond\x1b[0m \x07line
skyward r1 - end fail
""".splitlines(keepends=True)


def read(lines: list[str]) -> Report:
    report = Report()
    for line in lines:
        report.feed(line)
    return report


def test_phases_come_in_order_with_their_seconds() -> None:
    assert [(phase.name, phase.seconds) for phase in read(RUN).as_phases()] == [("python", 1.5), ("setup-1", 2.0)]


def test_a_failure_says_what_how_and_the_last_lines_without_control_characters() -> None:
    failure = read(RUN).failure()

    assert failure is not None
    assert (failure.step, str(failure)) == ("setup-1", '"pip install x" ended with exit status 9')
    assert failure.tail == "first line\nsecond line"


def test_a_passed_deadline_is_said_as_such() -> None:
    failure = read([*RUN[:5], "skyward r1 setup-1 fail 60.00 124\n"]).failure()

    assert str(failure) == '"pip install x" was not done within its deadline of 60 s'


def test_reading_the_journal_over_changes_nothing() -> None:
    once, twice = read(RUN), read(RUN + RUN)

    assert once.as_phases() == twice.as_phases()
    assert str(once.failure()) == str(twice.failure())
    assert twice.failure().tail == once.failure().tail  # type: ignore[union-attr]


def test_a_new_run_forgets_how_the_last_one_ended() -> None:
    report = read([*RUN, "skyward r2 - run abc\n"])

    assert not report.is_over
    assert report.failure() is None
    assert report.run == "r2"


def test_a_busy_node_is_not_the_end_of_a_run() -> None:
    report = read(["skyward r2 - busy -\n"])

    assert report.is_busy
    assert not report.is_over
