"""The plain ways, each a server process: ``python peers.py fastapi|grpc FOLDER PORT``.

It imports nothing of LearnLoop, so that an interpreter of its own can run it.
"""

import asyncio
import sys
from typing import Any


def functions(folder: str) -> dict[str, Any]:
    """Load the models; from arrays to arrays, by name."""
    import tensorflow as tf

    models = {name: tf.saved_model.load(f"{folder}/models/{name}/1") for name in ("dense", "lstm")}

    def of(model: Any) -> Any:
        signature = model.signatures["serving_default"]
        return lambda x: signature(x=tf.constant(x))["y"].numpy()

    return {name: of(model) for name, model in models.items()}


def fastapi(folder: str, port: int) -> None:
    """Serve by FastAPI."""
    import numpy as np
    import uvicorn
    from fastapi import FastAPI, Request

    calls, app = functions(folder), FastAPI()

    @app.post("/v1/models/{name}:predict")
    async def predict(name: str, request: Request) -> Any:
        rows = (await request.json())["instances"]
        return {"predictions": calls[name](np.array(rows, np.float32)).tolist()}

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)


def grpc_aio(folder: str, port: int) -> None:
    """Serve by a servicer of grpc.aio."""
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    calls = functions(folder)

    async def predict(request: Any, context: Any) -> Any:
        answer = calls[request.model_spec.name](tf.make_ndarray(request.inputs["x"]))
        response = predict_pb2.PredictResponse()
        response.outputs["y"].CopyFrom(tf.make_tensor_proto(answer))
        return response

    async def serve() -> None:
        server = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(
            predict,
            predict_pb2.PredictRequest.FromString,
            predict_pb2.PredictResponse.SerializeToString,
        )
        service = grpc.method_handlers_generic_handler(
            "tensorflow.serving.PredictionService", {"Predict": handler}
        )
        server.add_generic_rpc_handlers((service,))
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        await server.wait_for_termination()

    asyncio.run(serve())


if __name__ == "__main__":
    kind, folder, port = sys.argv[1:]
    {"fastapi": fastapi, "grpc": grpc_aio}[kind](folder, int(port))
