"""Bad manifests: one clear line for each fault, at the line of the offending field, and nothing lost beside it."""

from __future__ import annotations

import pytest

from skyward.documents import parse_file

HEAD = "apiVersion: skyward.dev/v1alpha1\nkind: Pool\nmetadata: {name: hello}\n"
GOOD = f"{HEAD}spec: {{nodes: 2, provider: local}}\n"


def _lines(text: str | bytes) -> list[str]:
    data = text if isinstance(text, bytes) else text.encode()
    return [str(problem) for problem in parse_file("a.yaml", data).problems]


def _spec(*lines: str) -> str:
    """A document with these lines in its spec, which then begin at line 5."""
    return HEAD + "spec:\n" + "".join(f"  {line}\n" for line in lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (_spec("nodes: -1", "provider: local"), ["a.yaml:5: spec.nodes: must be at least 0, not -1"]),
        (_spec("nodes: '2'", "provider: local"), ["a.yaml:5: spec.nodes: must be a whole number, not '2'"]),
        (_spec("nodes:", "provider: local"), ["a.yaml:5: spec.nodes: must be a whole number, but is empty"]),
        (_spec("nodes: 2.5", "provider: local"), ["a.yaml:5: spec.nodes: must be a whole number, not 2.5"]),
        (_spec("nodes: true", "provider: local"), ["a.yaml:5: spec.nodes: must be a whole number, not true"]),
        (_spec("provider: local"), ["a.yaml:4: spec.nodes: is required"]),
        (_spec("nodes: 2"), ["a.yaml:4: spec.providers: is required"]),
        (
            _spec("nodes: 2", "provider: locl"),
            ["a.yaml:6: spec.provider: there is no provider 'locl'; supported: local"],
        ),
        (
            _spec("nodes: 2", "provider: aws"),
            ["a.yaml:6: spec.provider: provider 'aws' is not supported by this version; supported: local"],
        ),
        (
            _spec("nodes: 2", "provider: {name: local}"),
            ["a.yaml:6: spec.provider: must be the name of one provider, not a mapping"],
        ),
        (
            _spec("nodes: 2", "provider: local", "providers: [{name: local}]"),
            ["a.yaml:6: spec.provider: provider and providers exclude each other; keep one"],
        ),
        (
            _spec("nodes: 2", "providers:", "- name: local", "  zone: x"),
            [
                "a.yaml:8: spec.providers[0].zone: the local provider has no regions or zones; leave it out",
            ],
        ),
        (
            _spec("nodes: 2", "provider: local", "nodez: 3"),
            ["a.yaml:7: spec.nodez: there is no field 'nodez'; did you mean 'nodes'?"],
        ),
        (
            _spec("nodes: 2", "provider: local", "drain_timeout: 3m"),
            ["a.yaml:7: spec.drain_timeout: there is no field 'drain_timeout'; did you mean 'drainTimeout'?"],
        ),
        (
            _spec("nodes: 2", "provider: local", "limits: {}", "image:", "  base: x", "ttl: 1h"),
            [
                "a.yaml:7: spec.limits: is not supported by this version; remove it",
                "a.yaml:9: spec.image.base: is not supported by this version; remove it",
                "a.yaml:10: spec.ttl: is not supported by this version; remove it",
            ],
        ),
        (
            _spec("nodes: 2", "provider: local", "concurrency: many"),
            ["a.yaml:7: spec.concurrency: must be a whole number or 'auto', not 'many'"],
        ),
        (
            _spec("nodes: 2", "provider: local", "concurrency: 0"),
            ["a.yaml:7: spec.concurrency: must be at least 1 or 'auto', not 0"],
        ),
        (
            _spec("nodes: 2", "provider: local", "connection: fast"),
            ["a.yaml:7: spec.connection: must be 'auto', 'tunnel' or 'direct', not 'fast'"],
        ),
        (
            _spec("nodes: 2", "provider: local", "paused: yes"),
            ["a.yaml:7: spec.paused: must be true or false, not 'yes'"],
        ),
        (
            _spec("nodes: 2", "provider: local", "drainTimeout: 5 min"),
            ["a.yaml:7: spec.drainTimeout: '5 min' is not a duration: write it like 30s, 10m, 1h30m or 3d"],
        ),
        (
            _spec("nodes: 2", "provider: local", "rollout: {maxSurge: 1.5}"),
            ["a.yaml:7: spec.rollout.maxSurge: must be a whole number or a percentage like '25%', not 1.5"],
        ),
        (
            _spec("nodes: 2", "provider: local", "image:", "  python: 3.12", "  pip:", "    - numpy", "    - 3"),
            [
                "a.yaml:8: spec.image.python: must be text, not 3.12; put it in quotes",
                "a.yaml:11: spec.image.pip[1]: must be text, not 3; put it in quotes",
            ],
        ),
        (
            _spec(
                "nodes: 2", "provider: local", "image:", "  python: '3.8'", "  setup:", "  - a", "  - {run: 1, x: 2}"
            ),
            [
                "a.yaml:8: spec.image.python: must be a minor version from '3.11' on, like '3.12', not '3.8'",
                "a.yaml:11: spec.image.setup[1].run: must be text, not 1; put it in quotes",
                "a.yaml:11: spec.image.setup[1].x: there is no field 'x'; known: name, run, timeout, unless",
            ],
        ),
        (
            _spec("nodes: 2", "provider: local", "image:", "  apt: [curl]"),
            [
                "a.yaml:8: spec.image.apt: image.apt is refused on the local provider: its nodes share this host and "
                "must not change its packages; install them on the host yourself"
            ],
        ),
        (
            _spec("nodes: 2", "provider: local", "env:", "  1A: x", "  B: 2"),
            [
                "a.yaml:8: spec.env.1A: must be the name of an environment variable (letters, digits and '_', "
                "no digit first), not '1A'",
                "a.yaml:9: spec.env.B: must be text, not 2; put it in quotes",
            ],
        ),
        (GOOD + "status: {nodes: 2}\n", ["a.yaml:5: status: status is written by the operator; remove it"]),
        (GOOD + "stat: 1\n", ["a.yaml:5: stat: there is no field 'stat'; known: apiVersion, kind, metadata, spec"]),
        (
            GOOD.replace("name: hello", "name: hello, uid: x, lables: {}"),
            [
                "a.yaml:3: metadata.uid: uid is set by the operator; remove it",
                "a.yaml:3: metadata.lables: there is no field 'lables'; did you mean 'labels'?",
            ],
        ),
        (
            GOOD.replace("hello", "Hello_You"),
            [
                "a.yaml:3: metadata.name: 'Hello_You' is not a name: use at most 50 lower-case letters, digits and '-', "
                "beginning and ending with a letter or digit"
            ],
        ),
        (GOOD.replace("{name: hello}", "{}"), ["a.yaml:3: metadata.name: is required"]),
        (GOOD.replace("Pool", "Pol"), ["a.yaml:2: kind: there is no kind 'Pol'; did you mean 'Pool'?"]),
        (GOOD.replace("Pool", "Node"), ["a.yaml:2: kind: a Node is made by the operator; a manifest holds kind Pool"]),
        (GOOD.replace("v1alpha1", "v1"), ["a.yaml:1: apiVersion: must be skyward.dev/v1alpha1, not 'skyward.dev/v1'"]),
        ("- 1\n", ["a.yaml:1: a document must be a mapping with apiVersion, kind, metadata and spec, not a list"]),
        (_spec("nodes: 2", " provider: local"), ["a.yaml:6: is not valid YAML: mapping values are not allowed here"]),
        (
            _spec("nodes: 2", "provider: local", "nodes: 3"),
            ["a.yaml:7: the key 'nodes' stands twice in this mapping, first in line 5"],
        ),
        (_spec("nodes: 2", "provider: local", "env: {5: x}"), ["a.yaml:7: the key 5 must be text; put it in quotes"]),
        (
            _spec("nodes: 2", "provider: !!python/name:os.system local"),
            ["a.yaml:6: the tag !!python/name:os.system is not accepted; write the plain value"],
        ),
        (_spec("nodes: .inf", "provider: local")[:-1], None),
        (_spec("nodes: 1e999", "provider: local"), None),
        (_spec(f"nodes: {'9' * 5000}", "provider: local"), None),
        ("a: &a [*a]\n", ["a.yaml:1: the alias *a stands inside the part it repeats"]),
        ("a: *b\n", ["a.yaml:1: the alias *b has no anchor &b before it"]),
        (b"a: 1\nb: \xff\n", ["a.yaml:2: is not UTF-8 text; save it as UTF-8"]),
        (b"a: 1\nb: \x07\n", ["a.yaml:2: holds a character that YAML does not allow (code 7)"]),
        ('a: "\\ud800"\n', None),
        ("[" * 100_000, ["a.yaml:1: is nested more than 64 levels deep"]),
        ("- " * 30_000, ["a.yaml:1: is nested more than 64 levels deep"]),
        (b"#" * ((1 << 20) + 1), ["a.yaml: is larger than 1 MiB"]),
        ("---\na: 1\n" * 1001, ["a.yaml: holds more than 1,000 documents"]),
    ],
    ids=lambda value: (
        None if value is None or isinstance(value, list) else str(value)[-30:].encode("unicode_escape").decode()
    ),
)
def test_every_fault_has_its_own_line_and_plain_words(text: str | bytes, expected: list[str] | None) -> None:
    found = _lines(text)

    assert found
    assert all("\n" not in line and "type=" not in line and "pydantic" not in line for line in found)
    if expected is not None:
        assert found == expected


def test_a_bomb_of_aliases_is_refused_before_it_grows() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 60))

    (line,) = _lines(bomb)

    assert line.endswith("aliases expand more than 100 times")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(GOOD + "".join(f"x{index}: 1\n" for index in range(5000)), id="fields"),
        pytest.param(_spec("nodes: 1", "provider: local", *(f"x{index}: !t 1" for index in range(5000))), id="tags"),
        pytest.param(_spec("nodes: 1", "provider: local", f"env: {{{', '.join(['A: 1'] * 5000)}}}"), id="twice"),
    ],
)
def test_a_file_of_rubbish_is_not_told_line_by_line(text: str) -> None:
    assert 10 <= len(_lines(text)) <= 60


def test_a_broken_document_takes_nothing_from_its_neighbours() -> None:
    text = "---\n".join(
        [GOOD, "kind: Pool\n  x: [\n", GOOD.replace("hello", "two"), _spec("nodes: x"), GOOD.replace("hello", "three")]
    )

    parsed = parse_file("a.yaml", text.encode())

    assert [(document.pool.metadata.name, document.line) for document in parsed.documents] == [
        ("hello", 1),
        ("two", 9),
        ("three", 20),
    ]
    assert [problem.line for problem in parsed.problems] == [7, 17, 18]


@pytest.mark.parametrize(
    ("text", "key", "is_opaque"),
    [
        (_spec("nodes: x"), "default/hello", False),
        (HEAD + "spec: [", "default/hello", False),
        (
            HEAD.replace("{name: hello}", "\n  # whose\n  namespace: 'team'\n  name: hello") + "spec: [",
            "team/hello",
            False,
        ),
        ("spec: {name: other}\nx: [", None, True),
        (HEAD.replace("name", "nmae") + "spec: 1", None, False),
        ("'", None, True),
    ],
)
def test_a_broken_document_still_claims_its_pool_where_that_can_be_read(
    text: str, key: str | None, is_opaque: bool
) -> None:
    parsed = parse_file("a.yaml", text.encode())

    assert [document.key for document in parsed.broken] == [key]
    assert parsed.is_opaque is is_opaque


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\ufeff" + GOOD, id="byte order mark"),
        pytest.param(GOOD.replace("\n", "\r\n"), id="CRLF"),
        pytest.param(f"# top\n\n---\n# first\n---\n{GOOD}---\n...\n", id="empty documents"),
        pytest.param(f"%YAML 1.2\n---\n{GOOD}", id="directive"),
        pytest.param(
            '{"apiVersion": "skyward.dev/v1alpha1", "kind": "Pool", "metadata": {"name": "hello"}, '
            '"spec": {"nodes": 2, "provider": "local"}}',
            id="JSON",
        ),
        pytest.param(f"{HEAD}spec: {{<<: &x {{nodes: 2}}, provider: local}}\n", id="merge key"),
    ],
)
def test_unusual_but_good_files_are_read(text: str) -> None:
    parsed = parse_file("a.yaml", text.encode())

    assert parsed.problems == ()
    assert [(document.pool.key, document.pool.spec.nodes) for document in parsed.documents] == [("default/hello", 2)]


def test_words_that_old_yaml_took_for_booleans_are_text() -> None:
    parsed = parse_file("a.yaml", _spec("nodes: 2", "provider: local", "orphanTimeout: off", "env: {on: yes}").encode())

    (document,) = parsed.documents
    assert (document.pool.spec.orphan_timeout, document.pool.spec.env) == ("off", {"on": "yes"})


def test_the_digest_is_the_documents_own() -> None:
    one, two = (parse_file("a.yaml", f"{GOOD}---\n{GOOD.replace('hello', name)}".encode()) for name in ("a", "b"))

    assert one.documents[0].digest == two.documents[0].digest
    assert one.documents[1].digest != two.documents[1].digest
