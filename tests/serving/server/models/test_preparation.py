"""A version is tried in a process of its own; what is wrong is told, and the old one serves on.

Each case here is a version that a disk, a copy or an author really leaves behind.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from serving.publish import Publication, publish_version
from serving.server.contract import Code, VersionState, VersionStatus
from tests.serving.server.models.saved_models import (
    answer,
    asynchronous,
    edited,
    look,
    lose_variable,
    recurse_for_ever,
    serving_models,
    warm_up_with,
)
from tests.serving.server.tiny_models import MODEL, write_version

AVAILABLE, END = VersionState.AVAILABLE, VersionState.END


def lose_graph(version: Path) -> None:
    (version / "saved_model.pb").unlink()


def cut_graph(version: Path) -> None:
    file = version / "saved_model.pb"
    file.write_bytes(file.read_bytes()[:-3])


def name_a_restore_operation(version: Path) -> None:
    with edited(version) as graph:
        graph.saver_def.restore_op_name = "restore"
    lose_variable(version)


def cut_warm_up(version: Path) -> None:
    warm_up_with({"x": np.float32([1])})(version)
    file = version / "assets.extra" / "tf_serving_warmup_requests"
    file.write_bytes(file.read_bytes()[:-1])


def answer_in_bfloat16(version: Path) -> None:
    with edited(version) as graph:
        graph.signature_def["serving_default"].outputs["y"].dtype = 14


DAMAGES: dict[Callable[[Path], None], tuple[Code, str]] = {
    lose_graph: (
        Code.NOT_FOUND,
        "Could not find SavedModel .pb at supplied export directory path: {version}",
    ),
    cut_graph: (Code.DATA_LOSS, "{version}/saved_model.pb is damaged."),
    name_a_restore_operation: (
        Code.NOT_FOUND,
        "The variables are missing: {version}/variables/variables.index",
    ),
    lose_variable: (
        Code.FAILED_PRECONDITION,
        "Signature serving_default needs what is not restored with the version: Could not find "
        "variable kernel. Keras 3 models are exported with model.export; tf.saved_model.save "
        "leaves their variables out.",
    ),
    recurse_for_ever: (
        Code.INTERNAL,
        "The version crashed the process that tries it before the server does (SIGSEGV).",
    ),
    warm_up_with({"x": np.float32([1])}, {"x": np.float32([[1]])}): (
        Code.INVALID_ARGUMENT,
        "A warm-up request: input x: expected shape [?], received [1,1].",
    ),
    cut_warm_up: (
        Code.DATA_LOSS,
        "{version}/assets.extra/tf_serving_warmup_requests is damaged.",
    ),
    answer_in_bfloat16: (
        Code.UNIMPLEMENTED,
        "Signature serving_default, tensor y: DT_BFLOAT16 is not supported.",
    ),
}


@asynchronous
async def test_what_is_damaged_is_refused_while_the_old_version_serves_on(
    base: Path, cache: Path
) -> None:
    async with serving_models(base.parent, cache) as library:
        for number, (damage, (code, words)) in enumerate(DAMAGES.items(), 2):
            incoming = write_version(base.with_name("incoming"), number)
            damage(incoming)
            version = incoming.rename(base / str(number))
            await look(library)
            assert library.statuses(MODEL, number) == [
                VersionStatus(number, END, code, words.format(version=version))
            ]
            assert await answer(library) == [1.5]


@asynchronous
async def test_what_is_not_as_it_was_published_is_refused(base: Path, cache: Path) -> None:
    async with serving_models(base.parent, cache) as library:
        saved_model = write_version(base.with_name("exports"), 2)
        published = publish_version(Publication(saved_model, 2, "digest", {}), base)
        await look(library)
        assert await answer(library) == [2.5], published
        saved_model = write_version(base.with_name("exports"), 3)
        incoming = base.with_name("copied")
        publish_version(Publication(saved_model, 3, "digest", {}), incoming)
        with edited(incoming / "3") as graph:
            graph.graph_def.versions.producer = 1646
        version = (incoming / "3").rename(base / "3")
        await look(library)
        words = f"{version}/saved_model.pb is not as it was published."
        assert library.statuses(MODEL, 3) == [VersionStatus(3, END, Code.DATA_LOSS, words)]
        assert await answer(library) == [2.5]


@asynchronous
async def test_half_a_copy_is_tried_again_when_it_is_whole(base: Path, cache: Path) -> None:
    async with serving_models(base.parent, cache) as library:
        version = write_version(base, 2)
        graph = (version / "saved_model.pb").read_bytes()
        (version / "saved_model.pb").write_bytes(graph[:100])
        await look(library)
        assert library.statuses(MODEL, 2)[0].code == Code.DATA_LOSS
        assert await answer(library) == [1.5]
        (version / "saved_model.pb").write_bytes(graph)
        await look(library)
        assert await answer(library) == [2.5]


def killed_process(folder: Path, times: int) -> str:
    """Write an interpreter that is killed by SIGKILL so many times before it runs."""
    script = folder / f"killed-{times}"
    script.write_text(
        "#!/bin/sh\n"
        f"for turn in $(seq {times}); do\n"
        f'  if mkdir "{folder}/kill-$turn" 2>/dev/null; then kill -9 $$; fi\n'
        "done\n"
        f'exec "{sys.executable}" "$@"\n'
    )
    script.chmod(0o755)
    return str(script)


@pytest.mark.parametrize("kills", [2, 9])
@asynchronous
async def test_a_kill_is_outlived(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int
) -> None:
    """Five more tries; what is killed each time is refused, and the old version serves on."""
    async with serving_models(base.parent, tmp_path / "cache") as library:
        write_version(base, 2)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", killed_process(tmp_path, kills))
            await look(library)
        if kills < 6:
            assert await answer(library) == [2.5]
            return
        words = "The process that tries the version was killed."
        assert library.statuses(MODEL, 2) == [VersionStatus(2, END, Code.INTERNAL, words)]
        assert await answer(library) == [1.5]


@asynchronous
async def test_findings_are_kept(base: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    async with serving_models(base.parent, cache):
        pass
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", "/nowhere/python")
        async with serving_models(base.parent, cache) as library:
            assert await answer(library) == [1.5]
    (finding,) = cache.glob("*/check.json")
    finding.write_bytes(b"")  # as a power cut may leave it
    async with serving_models(base.parent, cache) as library:
        assert await answer(library) == [1.5]
        assert finding.read_bytes()


@asynchronous
async def test_a_version_that_asks_itself_answers(base: Path, tmp_path: Path) -> None:
    warm_up_with({"x": np.float32([1, 2])}, {"x": np.float32([])})(base / "1")
    async with serving_models(base.parent, tmp_path / "cache") as library:
        assert await answer(library) == [1.5]
