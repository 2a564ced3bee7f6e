"""A SavedModel as it lies on disk: its signatures, and how TensorFlow Serving would run it.

The way from files to a session is that of TensorFlow's C++ loader: import the graph, run the
restore operation on the variables' files, run the initialiser with the assets' paths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from serving.server.contract import Code, ServingError, Signature, TensorSpec
from serving.server.models.runtime import Function, GraphSession, scalar
from serving.server.protos import get_model_metadata_pb2, saved_model_pb2, types_pb2
from serving.server.tensors import NUMPY_TYPES, array_of

SERVE_TAG = "serve"
INITIALISER = "__saved_model_init_op"
_OLD_INITIALISERS = ("saved_model_main_op", "legacy_init_op")


@dataclass(frozen=True)
class SavedModel:
    """What a version's folder holds.

    Args:
        folder: Where it is.
        graph: The meta graph for serving.
    """

    folder: Path
    graph: Any

    @classmethod
    def read(cls, folder: Path) -> SavedModel:
        """Read ``saved_model.pb``.

        Raises:
            ServingError: There is none, it cannot be read, or nothing in it is for serving.
        """
        file = folder / "saved_model.pb"
        try:
            document = saved_model_pb2.SavedModel.FromString(file.read_bytes())
        except FileNotFoundError:
            raise ServingError(
                Code.NOT_FOUND,
                f"Could not find SavedModel .pb at supplied export directory path: {folder}",
            ) from None
        except OSError as fault:
            raise ServingError(Code.DATA_LOSS, f"{file} cannot be read: {fault.strerror}") from None
        except DecodeError:
            raise ServingError(Code.DATA_LOSS, f"{file} is damaged.") from None
        for graph in document.meta_graphs:
            if SERVE_TAG in graph.meta_info_def.tags:
                return cls(folder, graph)
        raise ServingError(
            Code.NOT_FOUND,
            "Could not find meta graph def matching supplied tags: { serve }. To inspect available "
            "tag-sets in the SavedModel, please use the SavedModel CLI: `saved_model_cli`",
        )

    @property
    def signatures(self) -> dict[str, Signature]:
        """The signatures that callers may name."""
        return {
            name: _signature(name, definition)
            for name, definition in self.graph.signature_def.items()
            if not name.startswith("__saved_model_")
        }

    @property
    def signature_map(self) -> bytes:
        """The ``SignatureDefMap`` of GetModelMetadata, serialised."""
        answer = get_model_metadata_pb2.SignatureDefMap()
        for name in self.signatures:
            answer.signature_def[name].CopyFrom(self.graph.signature_def[name])
        return bytes(answer.SerializeToString())

    def open(self, threads: int = 1) -> dict[str, Function]:
        """Load it: a session with restored variables and filled tables.

        Args:
            threads: How many threads one operation may use.

        Returns:
            For each signature the function from its inputs, in order, to its outputs.

        Raises:
            ServingError: Variables are missing or damaged, or the graph is not one.
        """
        session = GraphSession(self.graph.graph_def.SerializeToString(), threads)
        self._restore(session)
        self._initialise(session)
        return {
            name: session.function(
                [spec.name for spec in signature.inputs.values()],
                [spec.name for spec in signature.outputs.values()],
            )
            for name, signature in self.signatures.items()
        }

    def _restore(self, session: GraphSession) -> None:
        saver = self.graph.saver_def
        prefix = self.folder / "variables" / "variables"
        if not saver.restore_op_name:
            return
        if not prefix.with_suffix(".index").exists():
            if not self._has_variables():
                return
            raise ServingError(Code.NOT_FOUND, f"The variables are missing: {prefix}.index")
        session.function([saver.filename_tensor_name], [], [saver.restore_op_name])(
            [scalar(prefix)]
        )

    def _has_variables(self) -> bool:
        return any(node.op in ("VarHandleOp", "VariableV2") for node in self.graph.graph_def.node)

    def _initialise(self, session: GraphSession) -> None:
        operation = initialiser(self.graph)
        if operation:
            assets = {
                a.tensor_info.name: self.folder / "assets" / a.filename
                for a in self.graph.asset_file_def
            }
            session.function(list(assets), [], [operation])(
                [scalar(path) for path in assets.values()]
            )


def initialiser(graph: Any) -> str:
    """Name the operation that fills a meta graph's tables; "" where there is none."""
    if INITIALISER in graph.signature_def:
        return str(graph.signature_def[INITIALISER].outputs[INITIALISER].name).partition(":")[0]
    for name in _OLD_INITIALISERS:
        if name in graph.collection_def:
            return str(graph.collection_def[name].node_list.value[0])
    return ""


def _signature(name: str, definition: Any) -> Signature:
    for alias, tensor in (*definition.inputs.items(), *definition.outputs.items()):
        if tensor.dtype not in NUMPY_TYPES:
            raise ServingError(
                Code.UNIMPLEMENTED,
                f"Signature {name}, tensor {alias}: {types_pb2.DataType.Name(tensor.dtype)} is not "
                "supported.",
            )
    return Signature(
        method=definition.method_name,
        inputs=_specs(definition.inputs),
        outputs=_specs(definition.outputs),
        defaults={name: array_of(value) for name, value in definition.defaults.items()},
    )


def _specs(tensors: Mapping[str, Any]) -> dict[str, TensorSpec]:
    return {
        alias: TensorSpec(
            name=tensor.name,
            dtype=tensor.dtype,
            shape=None
            if tensor.tensor_shape.unknown_rank
            else tuple(dimension.size for dimension in tensor.tensor_shape.dim),
        )
        for alias, tensor in sorted(tensors.items())
    }
