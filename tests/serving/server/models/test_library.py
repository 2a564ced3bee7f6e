"""What is wanted becomes what there is, and what answered goes on answering until then."""

from __future__ import annotations

import asyncio
import gc
import shutil
from pathlib import Path

import pytest

from serving.server.contract import Code, ServingError, VersionState, VersionStatus
from serving.server.models import ModelLibrary
from serving.server.models.config import read_config_file
from tests.serving.server.models.saved_models import (
    ONE,
    answer,
    asynchronous,
    look,
    serving_models,
    write_config,
)
from tests.serving.server.tiny_models import MODEL, write_version

AVAILABLE, END = VersionState.AVAILABLE, VersionState.END


def available(library: ModelLibrary) -> list[int]:
    return [status.version for status in library.statuses(MODEL) if status.state is AVAILABLE]


async def refusal(
    library: ModelLibrary, version: int | None = None, label: str | None = None
) -> tuple[Code, str]:
    with pytest.raises(ServingError) as caught:
        await answer(library, version, label)
    return caught.value.code, caught.value.message


@asynchronous
async def test_the_newest_version_answers(base: Path, cache: Path) -> None:
    write_version(base, 2)
    (base / ".incoming-4").mkdir()
    (base / "9.old").mkdir()
    (base / str(2**63)).mkdir()
    (base / "7").write_text("a file")
    async with serving_models(base.parent, cache) as library:
        assert library.statuses(MODEL) == [VersionStatus(2, AVAILABLE)]
        assert await answer(library) == [2.5]
        write_version(base, 3)
        assert await answer(library) == [2.5]
        await look(library)
        assert await answer(library) == [3.5]
        gc.collect()
        await asyncio.sleep(0)
        assert library.statuses(MODEL) == [VersionStatus(3, AVAILABLE), VersionStatus(2, END)]
        assert await refusal(library, 2) == (
            Code.NOT_FOUND,
            f"Servable not found for request: Specific({MODEL}, 2)",
        )


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("latest { num_versions: 2 }", [3, 2]),
        ("all {}", [3, 2, 1]),
        ("specific { versions: 1 versions: 3 }", [3, 1]),
    ],
)
@asynchronous
async def test_serves_the_versions_of_its_policy(
    base: Path, cache: Path, tmp_path: Path, policy: str, expected: list[int]
) -> None:
    write_version(base, 2)
    write_version(base, 3)
    config = tmp_path / "models.config"
    write_config(config, base, policy)
    async with serving_models(config, cache) as library:
        assert available(library) == expected
        for number in expected:
            assert await answer(library, number) == [number + 0.5]


@asynchronous
async def test_nothing_is_let_go_before_what_is_wanted_answers(
    base: Path, cache: Path, tmp_path: Path
) -> None:
    config = tmp_path / "models.config"
    write_config(config, base, "specific { versions: 1 }")
    write_version(base, 2)
    async with serving_models(config, cache) as library:
        write_config(config, base, "specific { versions: 2 }")
        seen = set()
        looking = asyncio.create_task(look(library))
        while not looking.done():
            seen.add((await answer(library))[0])
            await asyncio.sleep(0)
        assert seen <= {1.5, 2.5}
        assert available(library) == [2]


@asynchronous
async def test_a_request_is_answered_by_the_version_that_it_began_with(
    base: Path, cache: Path
) -> None:
    async with serving_models(base.parent, cache) as library:
        held = library.find(MODEL)
        write_version(base, 2)
        await look(library)
        assert library.statuses(MODEL, 1) == [VersionStatus(1, VersionState.UNLOADING)]
        assert (await held.run("serving_default", {"x": ONE}))["y"].tolist() == [1.5]
        del held
        gc.collect()
        await asyncio.sleep(0)
        assert library.statuses(MODEL, 1) == [VersionStatus(1, END)]


@asynchronous
async def test_a_label_points_to_an_available_version_only(
    base: Path, cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tmp_path / "models.config"
    write_config(config, base, "all {}", {"stable": 1})
    async with serving_models(config, cache) as library:
        assert await answer(library, label="stable") == [1.5]
        assert await refusal(library, label="canary") == (
            Code.INVALID_ARGUMENT,
            "Unrecognized servable version label: canary",
        )
        write_config(config, base, "all {}", {"stable": 2, "canary": 2})
        words = (
            f"Request to assign label to version 2 of model {MODEL}, which is not currently "
            "available for inference. It is not wanted or not there."
        )
        with pytest.raises(ServingError) as caught:
            await library.reload(read_config_file(config))
        assert (caught.value.code, caught.value.message) == (Code.FAILED_PRECONDITION, words)
        await look(library)
        assert caplog.messages.count(f"The new configuration of models is refused: {words}") == 1
        assert await answer(library, label="stable") == [1.5]
        await look(library)
        assert caplog.messages.count(f"The new configuration of models is refused: {words}") == 1
        write_version(base, 2)
        await look(library)
        assert await answer(library, label="stable") == [2.5]
        assert await answer(library, label="canary") == [2.5]


@asynchronous
async def test_a_configuration_that_changes_while_another_is_realised_is_not_lost(
    base: Path, tmp_path: Path
) -> None:
    """Version 2 was never tried here, so the first change is still being realised."""
    config = tmp_path / "models.config"
    write_config(config, base, "specific { versions: 1 }")
    write_version(base, 2)
    async with serving_models(config, tmp_path / "cache") as library:
        write_config(config, base, "specific { versions: 2 }")
        await library.poll()
        write_config(config, base, "specific { versions: 1 }", {"stable": 1})
        await library.poll()
        assert await refusal(library, label="stable")
        await library.settle()
        assert available(library) == [2]
        await look(library)
        assert available(library) == [1]
        assert await answer(library, label="stable") == [1.5]


@asynchronous
async def test_a_configuration_that_cannot_be_read_changes_nothing(
    base: Path, cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tmp_path / "models.config"
    write_config(config, base, "all {}")
    async with serving_models(config, cache) as library:
        config.write_text("half a fi")
        write_version(base, 2)
        await look(library)
        await look(library)
        assert available(library) == [2, 1], "new versions are found all the same"
        complaints = [words for words in caplog.messages if "cannot be read" in words]
        assert len(complaints) == 1, "it is told once, not once a second"
        write_config(config, base, "specific { versions: 1 }")
        await look(library)
        assert available(library) == [1]


@asynchronous
async def test_an_empty_base_path_unloads_and_one_that_is_gone_does_not(
    base: Path, cache: Path
) -> None:
    async with serving_models(base.parent, cache) as library:
        away = base.with_name("away")
        base.rename(away)
        (base.parent / MODEL).write_text("no folder")
        await library._refresh()
        assert await answer(library) == [1.5]
        base.unlink()
        base.mkdir()
        await look(library)
        assert await refusal(library) == (
            Code.NOT_FOUND,
            f"Servable not found for request: Latest({MODEL})",
        )
        base.rmdir()
        away.rename(base)
        await look(library)
        assert await answer(library) == [1.5]


@asynchronous
async def test_a_refused_version_keeps_its_reason_when_nobody_wants_it_any_more(
    base: Path, cache: Path
) -> None:
    async with serving_models(base.parent, cache) as library:
        bad = write_version(base, 2)
        (bad / "saved_model.pb").unlink()
        await look(library)
        reason = f"Could not find SavedModel .pb at supplied export directory path: {bad}"
        refused = VersionStatus(2, END, Code.NOT_FOUND, reason)
        assert library.statuses(MODEL) == [refused, VersionStatus(1, AVAILABLE)]
        write_version(base, 3)
        await look(library)
        assert library.statuses(MODEL, 2) == [refused]
        shutil.rmtree(base / "3")
        await look(library)
        assert library.statuses(MODEL, 2) == [refused]
        assert await answer(library) == [3.5], "version 2 was wanted, and did not answer"


@asynchronous
async def test_tells_what_it_does_not_serve(base: Path, cache: Path) -> None:
    async with serving_models(base.parent, cache) as library:
        for asked, words in (
            (("nobody",), "Could not find any versions of model nobody"),
            ((MODEL, 7), f"Could not find version 7 of model {MODEL}"),
        ):
            with pytest.raises(ServingError) as caught:
                library.statuses(*asked)
            assert (caught.value.code, caught.value.message) == (Code.NOT_FOUND, words)


@asynchronous
async def test_the_end_refuses_what_comes_after(base: Path, cache: Path) -> None:
    async with serving_models(base.parent, cache) as library:
        servable = library.find(MODEL)
    with pytest.raises(ServingError) as caught:
        await servable.run("serving_default", {"x": ONE})
    assert caught.value.code == Code.UNAVAILABLE
