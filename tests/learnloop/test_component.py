"""The signature is the specification; what is not a component is refused with the mend."""

from __future__ import annotations

import textwrap
from pathlib import Path
from types import ModuleType

import pytest

from learnloop.artifacts import Evaluation, Examples, Model
from learnloop.component import (
    CodeReference,
    Component,
    Context,
    File,
    Input,
    Output,
    Resources,
    component,
    load_object,
)
from learnloop.errors import GraphError, UsageError
from learnloop.settings import Settings


@component(resources=Resources(retries=3))
def sample(
    model: Input[Model],
    examples: list[Input[Examples]],
    champion: Input[Model] | None,
    evaluation: Output[Evaluation],
    extra: Output[Evaluation] | None,
    *,
    slices: tuple[str, ...] = (),
    suite: File | None = None,
    context: Context,
) -> None:
    """Do something with it.

    And more words.
    """


def test_the_signature_is_read() -> None:
    assert isinstance(sample, Component)
    assert sample.name == "sample"
    assert sample.summary == "Do something with it."
    assert [(p.name, p.type, p.optional, p.many) for p in sample.inputs.values()] == [
        ("model", Model, False, False),
        ("examples", Examples, False, True),
        ("champion", Model, True, False),
    ]
    assert [(p.name, p.type, p.optional) for p in sample.outputs.values()] == [
        ("evaluation", Evaluation, False),
        ("extra", Evaluation, True),
    ]
    assert list(sample.parameters) == ["slices", "suite"]
    assert sample.takes_context
    assert sample.resources.retries == 3
    assert sample.needing(retries=1).resources.retries == 1
    assert sample.resources.retries == 3, "needing() makes another component"


def test_the_plain_function_needs_no_runner(tmp_path: Path) -> None:
    @component
    def double(number: Input[Evaluation], result: Output[Evaluation]) -> None:
        """Double."""
        result.write({"value": 2 * number.load()["value"]})

    number = Evaluation.create(tmp_path / "number")
    number.write({"value": 21})
    result = Evaluation.create(tmp_path / "result")
    double.function(number, result)
    assert result.load() == {"value": 42}


BAD = {
    "def f(x, *, y: int) -> None: ...": (
        "Argument 'x' of a component needs a type.",
        "x: Input[...], Output[...] or a parameter's type",
    ),
    "def f(x: int) -> None: ...": (
        "Argument 'x' is not an artifact, so it must be keyword-only.",
        "parameters after '*'",
    ),
    "def f(x: Input[int]) -> None: ...": (
        "'x' is not typed as an artifact.",
        "a class derived from learnloop.artifacts.Artifact",
    ),
    "def f(x: Input[Model]) -> int: ...": ("A component returns None.", "-> None"),
    "def f(x: Input[Nowhere]) -> None: ...": (
        "A component's types must be importable: name 'Nowhere' is not defined.",
        "",
    ),
}


@pytest.mark.parametrize("source", BAD)
def test_bad_definitions(source: str) -> None:
    module = ModuleType("bad")
    header = "from __future__ import annotations\nfrom learnloop.component import *\n"
    header += "from learnloop.artifacts import Model\n"
    exec(header + source, vars(module))
    module.f.__module__ = "bad"
    with pytest.raises(GraphError) as caught:
        component(module.f)
    what, expected = BAD[source]
    assert (caught.value.what, caught.value.where) == (what, "bad:f")
    assert caught.value.expected == expected


def test_called_outside_a_pipeline() -> None:
    with pytest.raises(GraphError) as caught:
        sample()
    assert str(caught.value) == (
        "Component 'sample' was called outside a pipeline.\n"
        f"  where:    {__name__}:sample\n"
        "  next:     call it in a @pipeline function, or call sample.function directly"
    )


def test_a_password_in_a_parameter_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        sample.parameters["suite"].validate("postgresql://me:secret@host/db", "step 'x'")
    assert "secret" not in str(caught.value)
    assert caught.value.what == (
        "A parameter must not hold a password: parameters are recorded and shown."
    )


def test_text_becomes_the_parameters_type() -> None:
    assert sample.parameters["slices"].validate('["a", "b"]', "here") == ("a", "b")
    assert sample.parameters["suite"].validate("suite.json", "here") == File("suite.json")
    assert sample.parameters["suite"].to_json(File("suite.json")) == "suite.json"
    with pytest.raises(UsageError) as caught:
        sample.parameters["slices"].validate(3, "step 'x'")
    assert str(caught.value) == (
        "Parameter 'slices' does not fit: Input should be a valid tuple.\n"
        "  where:    step 'x'\n"
        "  expected: tuple[str, ...]\n"
        "  received: 3"
    )


def test_a_file_is_relative_to_the_project(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "project" / "suite.json").write_text("[]")
    assert File("suite.json").read_text() == "[]"
    with pytest.raises(UsageError) as caught:
        File("nothing.json").read_text()
    assert str(caught.value) == (
        f"A curated file is missing.\n  where:    {tmp_path / 'project' / 'nothing.json'}"
    )


def test_code_is_named_and_loaded() -> None:
    assert CodeReference("learnloop.rows:RowDigest").load().__name__ == "RowDigest"
    with pytest.raises(UsageError, match="A code reference names a module and a function in it."):
        CodeReference("learnloop.rows.RowDigest")
    with pytest.raises(UsageError) as caught:
        load_object("learnloop.rows:RowDigst")
    assert caught.value.expected == "did you mean 'RowDigest'?"
    with pytest.raises(UsageError, match=textwrap.dedent("There is no module 'nowhere'")):
        load_object("nowhere:f")
