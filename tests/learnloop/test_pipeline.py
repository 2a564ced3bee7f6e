"""Every error of a graph surfaces while it is built, with the whole message."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from learnloop.artifacts import Evaluation, Examples
from learnloop.component import Input, Output, component
from learnloop.errors import GraphError, LearnLoopError, UsageError
from learnloop.pipeline import Graph, Node, Pipeline, pipeline
from tests.learnloop.steps import add, make, maybe, sums, total

HERE = __name__


@component
def needs_rows(examples: Input[Examples], evaluation: Output[Evaluation]) -> None:
    """Read rows."""


def graph_of(function: Callable[[], None]) -> Graph:
    return pipeline(function).graph()


def test_calls_make_nodes_and_attributes_are_outputs() -> None:
    graph = sums.graph(start=3, length=2)
    assert list(graph.nodes) == ["make", "add", "add_2", "total"]
    assert graph.nodes["total"].upstream == ("make", "add", "add_2")
    assert graph.nodes["make"].parameters_json() == {"start": 3}
    assert graph.parameters == {"start": 3, "length": 2, "more": 1}
    assert list(graph.with_ancestors("add").nodes) == ["make", "add"]


def test_text_parameters_get_their_types() -> None:
    assert sums.graph(**sums.validate({"length": "1"})).parameters["length"] == 1


def missing_input() -> None:
    add()  # type: ignore[call-arg]


def wrong_type() -> None:
    needs_rows(make().number)


def a_step_for_an_output() -> None:
    add(make())


def a_value_for_an_output() -> None:
    add(3)


def a_list_for_one() -> None:
    add([make().number])


def no_such_output() -> None:
    _ = make().nmber


def no_such_argument() -> None:
    make(strat=1)


def a_parameter_that_does_not_fit() -> None:
    make(start="many")


def an_optional_output_for_a_required_input() -> None:
    add(maybe(is_there=True).number)


def more_arguments_than_inputs() -> None:
    make(3)  # type: ignore[call-arg]


def an_input_by_place_and_by_name() -> None:
    number = make().number
    add(number, one=number)  # type: ignore[misc]


def nothing_at_all() -> None:
    """Call nothing."""


BAD: dict[Callable[[], None], str] = {
    missing_input: (
        "Input 'one' is missing.\n"
        "  where:    step 'add' (tests.learnloop.steps:add)\n"
        "  expected: an output of type Evaluation"
    ),
    wrong_type: (
        "Input 'examples' takes another type of artifact.\n"
        f"  where:    step 'needs_rows' ({HERE}:needs_rows)\n"
        "  expected: Examples\n"
        "  received: make.number of type Evaluation"
    ),
    a_step_for_an_output: (
        "Input 'one' was given a step, not one of its outputs.\n"
        "  where:    step 'add' (tests.learnloop.steps:add)\n"
        "  expected: make.number\n"
        "  received: make"
    ),
    a_value_for_an_output: (
        "Input 'one' takes the output of a step.\n"
        "  where:    step 'add' (tests.learnloop.steps:add)\n"
        "  expected: an output of type Evaluation\n"
        "  received: 3"
    ),
    a_list_for_one: (
        "Input 'one' takes one artifact, not a list.\n"
        "  where:    step 'add' (tests.learnloop.steps:add)\n"
        "  expected: one output of type Evaluation\n"
        "  received: 1 outputs"
    ),
    no_such_output: (
        "Step 'make' has no output 'nmber'.\n"
        "  where:    tests.learnloop.steps:make\n"
        "  expected: did you mean 'number'?\n"
        "  received: 'nmber'"
    ),
    no_such_argument: (
        "Component 'make' has no input or parameter 'strat'.\n"
        "  where:    step 'make' (tests.learnloop.steps:make)\n"
        "  expected: did you mean 'start'?\n"
        "  received: 'strat'"
    ),
    a_parameter_that_does_not_fit: (
        "Parameter 'start' does not fit: Input should be a valid integer, unable to parse string "
        "as an integer.\n"
        "  where:    step 'make' (tests.learnloop.steps:make)\n"
        "  expected: int\n"
        "  received: 'many'"
    ),
    an_optional_output_for_a_required_input: (
        "Input 'one' must be there, but maybe.number may be left empty.\n"
        "  where:    step 'add' (tests.learnloop.steps:add)\n"
        "  expected: an input declared as Input[Evaluation] | None"
    ),
    more_arguments_than_inputs: (
        "There are too many positional arguments.\n"
        "  where:    step 'make' (tests.learnloop.steps:make)\n"
        "  expected: none\n"
        "  received: 1 arguments"
    ),
    an_input_by_place_and_by_name: (
        "Argument 'one' is given twice.\n"
        "  where:    step 'add' (tests.learnloop.steps:add)\n"
        "  expected: by its place or by its name\n"
        "  received: by both"
    ),
    nothing_at_all: f"A pipeline has at least one step.\n  where:    {HERE}:nothing_at_all",
}


@pytest.mark.parametrize("function", BAD, ids=lambda function: function.__name__)
def test_bad_graphs(function: Callable[[], None]) -> None:
    with pytest.raises(UsageError) as caught:
        graph_of(function)
    assert str(caught.value) == BAD[function]


def test_a_circle_is_refused() -> None:
    one = sums.graph(length=1).nodes
    first = Node("first", add, {"one": one["add"].number, "other": None}, {"more": 1})
    second = Node("add", add, {"one": first.number, "other": None}, {"more": 1})
    with pytest.raises(GraphError) as caught:
        Graph("circle", {}, {"first": first, "add": second})
    assert str(caught.value) == (
        "The steps wait for each other in a circle.\n  where:    circle\n  received: add, first"
    )


def test_a_graph_with_a_hole_is_refused() -> None:
    nodes = dict(sums.graph(length=1).nodes)
    del nodes["make"]
    with pytest.raises(GraphError, match="reads from a step that is not in the pipeline"):
        Graph("hole", {}, nodes)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"strat": "3"},
            "Pipeline 'sums' has no parameter 'strat'.\n"
            "  expected: did you mean 'start'?\n"
            "  received: 'strat'\n"
            "  next:     learnloop show sums",
        ),
        (
            {"start": "x"},
            "Parameter 'start' does not fit: Input should be a valid integer, unable to parse "
            "string as an integer.\n"
            "  where:    pipeline 'sums'\n"
            "  expected: int\n"
            "  received: 'x'",
        ),
    ],
)
def test_bad_parameters(given: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        sums.validate(given)
    assert str(caught.value) == message


@pytest.mark.parametrize("call", [sums.graph, sums.run], ids=["graph", "run"])
def test_a_pipelines_surplus_arguments_are_refused(call: Callable[..., object]) -> None:
    with pytest.raises(GraphError) as caught:
        call(1, 2, 3, 4)
    assert str(caught.value) == (
        "There are too many positional arguments.\n"
        "  where:    pipeline 'sums'\n"
        "  expected: start, length, more\n"
        "  received: 4 arguments"
    )
    with pytest.raises(GraphError) as caught:
        call(1, start=2)
    assert str(caught.value) == (
        "Argument 'start' is given twice.\n"
        "  where:    pipeline 'sums'\n"
        "  expected: by its place or by its name\n"
        "  received: by both"
    )


def test_a_required_parameter_is_asked_for() -> None:
    @pipeline
    def needs(source: str) -> None:
        make()

    assert isinstance(needs, Pipeline)
    with pytest.raises(LearnLoopError) as caught:
        needs.validate({})
    assert str(caught.value) == (
        "Parameter 'source' is missing.\n  where:    pipeline 'needs'\n  next:     give source=…"
    )


def test_fan_in_takes_one_or_many() -> None:
    def one() -> None:
        total(make().number)

    assert graph_of(one).nodes["total"].upstream == ("make",)
