"""``tensorflow.serving.ModelService``: where versions stand, and which are to be served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving.server.contract import Code, Models, ServingError
from serving.server.protos import get_model_status_pb2, model_management_pb2
from serving.server.rpc.guard import Guard, Handler
from serving.server.rpc.prediction import read_message

SERVICE = "tensorflow.serving.ModelService"


class ModelService:
    """Answers for the models themselves.

    Args:
        models: The models.
        guard: Turns refusals into statuses.
    """

    def __init__(self, models: Models, guard: Guard) -> None:
        self._models = models
        self.handlers: Mapping[str, Handler] = {
            "GetModelStatus": guard(self._status),
            "HandleReloadConfigRequest": guard(self._reload),
        }

    async def _status(self, raw: bytes, context: Any) -> bytes:
        request = read_message(get_model_status_pb2.GetModelStatusRequest, raw)
        if not request.HasField("model_spec"):
            raise ServingError(Code.INVALID_ARGUMENT, "Missing ModelSpec")
        spec = request.model_spec
        choice = spec.WhichOneof("version_choice")
        statuses = self._models.statuses(
            spec.name,
            spec.version.value if choice == "version" else None,
            spec.version_label if choice == "version_label" else None,
        )
        response = get_model_status_pb2.GetModelStatusResponse()
        for status in statuses:
            row = response.model_version_status.add(version=status.version, state=status.state)
            row.status.error_code = status.code
            row.status.error_message = status.message
        return bytes(response.SerializeToString())

    async def _reload(self, raw: bytes, context: Any) -> bytes:
        request = read_message(model_management_pb2.ReloadConfigRequest, raw)
        if request.config.WhichOneof("config") != "model_config_list":
            raise ServingError(
                Code.INVALID_ARGUMENT,
                "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                "Only ModelConfigList is currently supported",
            )
        await self._models.reload(request.config.SerializeToString())
        response = model_management_pb2.ReloadConfigResponse()
        response.status.error_code = 0
        return bytes(response.SerializeToString())
