"""Every route, format and refusal of the REST API, row by row, each with where it comes from.

The facts are of TensorFlow Serving 2.16's sources; no binary is to be had to compare with. Whole
bodies are compared: parsed, because RapidJSON's white space says nothing.
"""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any

import pytest

from tests.serving.server.memory import ThreadedServer

HANDLER = "model_servers/http_rest_api_handler.cc"
UTIL = "model_servers/http_rest_api_util.cc"
SERVER = "model_servers/http_server.cc"
JSON_TENSOR = "util/json_tensor.cc"
CORE = "model_servers/server_core.cc"
MANAGER = "core/basic_manager.cc"
STATUS = "model_servers/get_model_status_impl.cc"
CLASSIFIER = "servables/tensorflow/classifier.cc"
REGRESSOR = "servables/tensorflow/regressor.cc"
RAPIDJSON = "rapidjson/error/en.h"
OWN = "LearnLoop's own"

PREDICT = "/v1/models/half:predict"
CLASSIFY = "/v1/models/half:classify"
REGRESS = "/v1/models/half:regress"


@dataclass(frozen=True)
class Row:
    """A request and what is answered."""

    fact: str
    method: str
    path: str
    body: Any
    status: int
    answer: Any


def error(fact: str, path: str, body: Any, message: str, status: int = 400) -> Row:
    return Row(fact, "POST", path, body, status, {"error": message})


def asked(signature: str, **values: Any) -> dict[str, Any]:
    return {"signature_name": signature, **values}


AVAILABLE = [
    {"version": version, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for version in ("2", "1")
]
ENDED = {
    "version": "3",
    "state": "END",
    "status": {"error_code": "NOT_FOUND", "error_message": "no saved_model.pb"},
}
NUMBERS = {
    "dtype": "DT_FLOAT",
    "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
}
METADATA = {
    "model_spec": {"name": "half", "signature_name": "", "version": "2"},
    "metadata": {
        "signature_def": {
            "signature_def": {
                "serving_default": {
                    "inputs": {"x": {**NUMBERS, "name": "x:0"}},
                    "outputs": {"y": {**NUMBERS, "name": "y:0"}},
                    "method_name": "tensorflow/serving/predict",
                    "defaults": {},
                }
            }
        }
    },
}
ROW = {"x": [1.5, 2], "i": 3, "s": "a"}
NAMED = {"x": [1.5, 2.0], "i": 3, "s_bytes": {"b64": "YQ=="}}
ELEMENT = "Failed to process element: {} of 'instances' list. Error: INVALID_ARGUMENT: "
KEYED = "Failed to process element: {} key: {} of 'instances' list. Error: INVALID_ARGUMENT: "

ROWS = [
    # Routes.
    Row(HANDLER, "POST", PREDICT, {"instances": [1.0, 2.0]}, 200, {"predictions": [2.5, 3.0]}),
    Row(UTIL, "POST", "/v1/models/half/versions/1:predict", {"instances": [1]}, 200,
        {"predictions": [2.5]}),
    Row(UTIL, "POST", "/v1/models/half/labels/stable:predict", {"instances": [1]}, 200,
        {"predictions": [2.5]}),
    Row(f"{UTIL} (?i)", "POST", "/V1/Models/half/Versions/1:predict", {"instances": [1]}, 200,
        {"predictions": [2.5]}),
    Row(f"{UTIL} DecodeArg", "POST", "/v1/models/h%61lf:predict", {"instances": [1]}, 200,
        {"predictions": [2.5]}),
    error(HANDLER, "/v1/models/half:PREDICT", {},
          "Malformed request: POST /v1/models/half:PREDICT"),
    error(HANDLER, "/v1/models/half:explain", {},
          "Malformed request: POST /v1/models/half:explain"),
    error(HANDLER, "/v1/models", {}, "Malformed request: POST /v1/models"),
    error(HANDLER, PREDICT + "?a=b", {}, f"Malformed request: POST {PREDICT}?a=b"),
    error(HANDLER, "/v1/models/half/version/1:predict", {},
          "Malformed request: POST /v1/models/half/version/1:predict"),
    error(HANDLER, "/v1/models/half/versions/x:predict", {},
          "Malformed request: POST /v1/models/half/versions/x:predict"),
    error(HANDLER, "/v1/models/half/versions/1/labels/stable:predict", {},
          "Malformed request: POST /v1/models/half/versions/1/labels/stable:predict"),
    Row(HANDLER, "GET", PREDICT, None, 400, {"error": f"Malformed request: GET {PREDICT}"}),
    Row(HANDLER, "DELETE", "/v1/models/half", None, 400,
        {"error": "Malformed request: DELETE /v1/models/half"}),
    Row(HANDLER, "GET", "/v1/models", None, 400, {"error": "Missing model name in request."}),
    error(UTIL, "/v1/models/half/versions/9223372036854775808:predict", {},
          "Failed to convert version: 9223372036854775808 to numeric."),
    error(MANAGER, "/v1/models/none:predict", {"instances": [1]},
          "Servable not found for request: Latest(none)", 404),
    error(MANAGER, "/v1/models/half/versions/9:predict", {"instances": [1]},
          "Servable not found for request: Specific(half, 9)", 404),
    error(CORE, "/v1/models/half/labels/nobody:predict", {"instances": [1]},
          "Unrecognized servable version label: nobody"),
    # Status and metadata.
    Row(STATUS, "GET", "/v1/models/half", None, 200,
        {"model_version_status": [ENDED, *AVAILABLE]}),
    Row(STATUS, "GET", "/v1/models/half/versions/2", None, 200,
        {"model_version_status": AVAILABLE[:1]}),
    Row(STATUS, "GET", "/v1/models/half/labels/stable", None, 200,
        {"model_version_status": AVAILABLE[1:]}),
    Row(STATUS, "GET", "/v1/models/none", None, 404,
        {"error": "Could not find any versions of model none"}),
    Row(STATUS, "GET", "/v1/models/half/versions/9", None, 404,
        {"error": "Could not find version 9 of model half"}),
    Row(UTIL, "GET", "/v1/models/half/metadata", None, 200, METADATA),
    Row(f"{HANDLER} compares metadata with case", "GET", "/v1/models/half/versions/2/METADATA",
        None, 200, {"model_version_status": AVAILABLE[:1]}),
    Row(MANAGER, "GET", "/v1/models/none/metadata", None, 404,
        {"error": "Servable not found for request: Latest(none)"}),
    # Predict: formats.
    Row(JSON_TENSOR, "POST", PREDICT, {"inputs": [1.0, 2.0]}, 200, {"outputs": [2.5, 3.0]}),
    Row(JSON_TENSOR, "POST", PREDICT, {"inputs": {"x": [1.0]}}, 200, {"outputs": [2.5]}),
    Row(JSON_TENSOR, "POST", PREDICT, {"instances": [{"x": 1}, {"x": 2.0}]}, 200,
        {"predictions": [2.5, 3.0]}),
    Row(HANDLER, "POST", PREDICT, asked("serving_default", instances=[3]), 200,
        {"predictions": [3.5]}),
    Row(f"{HANDLER} empty means default", "POST", PREDICT, asked("", instances=[3]), 200,
        {"predictions": [3.5]}),
    Row(JSON_TENSOR, "POST", PREDICT, asked("mixed", instances=[ROW, ROW]), 200,
        {"predictions": [NAMED, NAMED]}),
    Row(JSON_TENSOR, "POST", PREDICT, asked("mixed", inputs={"x": [[1, 2]], "i": [3], "s": ["a"]}),
        200, {"outputs": {"x": [[1.0, 2.0]], "i": [3], "s_bytes": [{"b64": "YQ=="}]}}),
    Row(JSON_TENSOR, "POST", PREDICT,
        asked("mixed", instances=[{**ROW, "s": {"b64": "/wA="}}]), 200,
        {"predictions": [{**NAMED, "s_bytes": {"b64": "/wA="}}]}),
    Row(JSON_TENSOR, "POST", PREDICT, asked("text", instances=[{"b64": "w6Q"}, "ö"]), 200,
        {"predictions": ["ä", "ö"]}),
    Row("predict_util.cc defaults", "POST", PREDICT, asked("optional", instances=[{"x": 1}]), 200,
        {"predictions": [11.0]}),
    Row("predict_util.cc defaults", "POST", PREDICT,
        asked("optional", inputs={"x": [1], "z": [2]}), 200, {"outputs": [3.0]}),
    Row(JSON_TENSOR, "POST", PREDICT, asked("echo_DT_BOOL", instances=[True, False]), 200,
        {"predictions": [True, False]}),
    Row(f"{JSON_TENSOR} casts to the narrow type", "POST", PREDICT,
        asked("echo_DT_INT8", instances=[300]), 200, {"predictions": [44]}),
    Row(JSON_TENSOR, "POST", PREDICT, asked("echo_DT_UINT64", instances=[2**64 - 1]), 200,
        {"predictions": [2**64 - 1]}),
    Row(JSON_TENSOR, "POST", PREDICT, asked("echo_DT_INT64", instances=[-(2**63)]), 200,
        {"predictions": [-(2**63)]}),
    # Predict: refusals.
    error(HANDLER, PREDICT, asked("nobody", instances=[1]),
          'Serving signature name: "nobody" not found in signature def'),
    error(JSON_TENSOR, PREDICT, asked("no_inputs", instances=[1]),
          "Failed to get input map for signature: no_inputs"),
    error(JSON_TENSOR, PREDICT, b"", "JSON Parse error: The document is empty"),
    error(RAPIDJSON, PREDICT, b"  ",
          "JSON Parse error: The document is empty. at offset: 2"),
    error(RAPIDJSON, PREDICT, b"instances = [1]",
          "JSON Parse error: Invalid value. at offset: 0"),
    error(RAPIDJSON, PREDICT, b'{"instances": [1}',
          "JSON Parse error: Missing a comma or ] after an array element. at offset: 16"),
    error(RAPIDJSON, PREDICT, b'{"instances": [1]} x',
          "JSON Parse error: The document root must not be followed by other values. "
          "at offset: 19"),
    error(JSON_TENSOR, PREDICT, b"[]", "JSON Value: [] Is not object"),
    error(f"{JSON_TENSOR} before the model is looked for", "/v1/models/none:predict", b"[]",
          "JSON Value: [] Is not object"),
    error(JSON_TENSOR, PREDICT, {"signature_name": 5},
          'JSON Value: {\n    "signature_name": 5\n} not formatted correctly. '
          "'signature_name' key must be a string value."),
    error(JSON_TENSOR, PREDICT, {}, "Missing 'inputs' or 'instances' key"),
    error(JSON_TENSOR, PREDICT, {"inputs": [], "instances": []},
          'JSON Value: {\n    "inputs": [],\n    "instances": []\n} Not formatted correctly '
          "expecting only one of 'inputs' or 'instances' keys to exist "),
    error(JSON_TENSOR, PREDICT, {"instances": 5},
          'JSON Value: {\n    "instances": 5\n} Excepting \'instances\' to be an list/array'),
    error(JSON_TENSOR, PREDICT, {"instances": []},
          'JSON Value: {\n    "instances": []\n} No values in \'instances\' array'),
    error(JSON_TENSOR, PREDICT, asked("mixed", instances=[1]),
          "instances is a plain list, but expecting list of objects as multiple input tensors "
          "required as per tensorinfo_map"),
    error(JSON_TENSOR, PREDICT, asked("mixed", inputs=[1]),
          "inputs is a plain value/list, but expecting an object as multiple input tensors "
          "required as per tensorinfo_map"),
    error(JSON_TENSOR, PREDICT, asked("mixed", inputs={"x": [[1, 2]]}),
          "Missing named input: i in 'inputs' object."),
    error(JSON_TENSOR, PREDICT, {"instances": [{"x": 1}, 2]},
          "Expecting object but got list at item 1 of input list"),
    error(JSON_TENSOR, PREDICT, {"instances": [1, {"x": 2}]},
          "Expecting value/list but got object at item 1 of input list"),
    error(JSON_TENSOR, PREDICT, {"instances": [{"z": 1}]},
          KEYED.format(0, "z") + "JSON object: does not have named input: z"),
    error(JSON_TENSOR, PREDICT, asked("mixed", instances=[{"i": 1, "s": "a"}]),
          "Failed to process element: 0 of 'instances' list. JSON object: "
          '{\n    "i": 1,\n    "s": "a"\n} keys must be equal to: i,s,x'),
    error(JSON_TENSOR, PREDICT, {"instances": ["x"]},
          ELEMENT.format(0)
          + 'JSON Value: "x" Type: String is not of expected type: float'),
    error(JSON_TENSOR, PREDICT, {"instances": [1, None]},
          ELEMENT.format(1) + "JSON Value: null Type: Null is not of expected type: float"),
    error(JSON_TENSOR, PREDICT, {"instances": [1, True]},
          ELEMENT.format(1) + "JSON Value: true Type: True is not of expected type: float"),
    error(JSON_TENSOR, PREDICT, asked("echo_DT_INT64", instances=[1.5]),
          ELEMENT.format(0) + "JSON Value: 1.5 Type: Number is not of expected type: int64"),
    error(JSON_TENSOR, PREDICT, asked("echo_DT_INT32", instances=[2**31]),
          ELEMENT.format(0)
          + "JSON Value: 2147483648 Type: Number is not of expected type: int32"),
    error(JSON_TENSOR, PREDICT, {"instances": [16777216]},
          ELEMENT.format(0)
          + "Cannot convert JSON value: 16777216 to float without loss of precision."),
    error(JSON_TENSOR, PREDICT, {"instances": [1e39]},
          ELEMENT.format(0)
          + "Cannot convert JSON value: 1e+39 to float without loss of precision."),
    error(JSON_TENSOR, PREDICT, {"instances": [[1, 2], [3]]},
          ELEMENT.format(1) + "Expecting tensor size: 2 but got: 1"),
    error(JSON_TENSOR, PREDICT, {"instances": [[1], 2]},
          ELEMENT.format(1) + "Expecting shape [1] but got: []"),
    error(JSON_TENSOR, PREDICT, {"instances": [[[1, 2], [3]]]},
          ELEMENT.format(0)
          + "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
    error(JSON_TENSOR, PREDICT, {"inputs": [[1], 2]},
          "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
    error(JSON_TENSOR, PREDICT, {"inputs": [1, [2]]},
          "Encountered list at unexpected level: 1 expected < 1"),
    error(JSON_TENSOR, PREDICT, asked("text", instances=[{"b64": "!"}]),
          ELEMENT.format(0) + "Unable to base64 decode"),
    error(JSON_TENSOR, PREDICT, asked("echo_DT_HALF", instances=[1]),
          "Failed to process element: 0 of 'instances' list. Error: UNIMPLEMENTED: "
          "Conversion of JSON Value: 1 to type: half"),
    error(JSON_TENSOR, PREDICT, asked("echo_DT_HALF", inputs=[1]),
          "Conversion of JSON Value: 1 to type: half", 501),
    error(JSON_TENSOR, PREDICT, asked("scalar", instances=[1]),
          "Tensor name: y has no shape information "),
    error(JSON_TENSOR, PREDICT, asked("uneven", instances=[1]),
          "Tensor name: z has inconsistent batch size: 2 expecting: 1"),
    Row(JSON_TENSOR, "POST", PREDICT, asked("scalar", inputs=[1]), 200, {"outputs": 7.0}),
    # Statuses of what a model says.
    *(
        error(f"{SERVER} ToHTTPStatusCode", PREDICT, asked(f"refuses_{code}", instances=[1]),
              f"The model says {code.upper()}.", status)
        for code, status in {
            "cancelled": 499, "unknown": 500, "invalid_argument": 400, "deadline_exceeded": 504,
            "not_found": 404, "already_exists": 409, "permission_denied": 403,
            "resource_exhausted": 429, "failed_precondition": 400, "aborted": 409,
            "out_of_range": 400, "unimplemented": 501, "internal": 500, "unavailable": 503,
            "data_loss": 500, "unauthenticated": 401,
        }.items()
    ),
    error(OWN, PREDICT, asked("unforeseen", instances=[1]), "Internal error.", 500),
    # Classify and regress.
    Row(HANDLER, "POST", CLASSIFY, asked("classify_x_to_y", examples=[{"x": 20.0}]), 200,
        {"results": [[["", 12.0]]]}),
    Row(JSON_TENSOR, "POST", CLASSIFY,
        asked("classify_labelled", examples=[{"x": 0.25}, {"x": [0.5]}]), 200,
        {"results": [[["fail", 0.25], ["pass", 0.75]], [["fail", 0.5], ["pass", 0.5]]]}),
    Row(HANDLER, "POST", REGRESS, asked("regress_x_to_y", examples=[{"x": 80.0}]), 200,
        {"results": [42.0]}),
    Row(JSON_TENSOR, "POST", REGRESS,
        asked("regress_x_to_y", context={"x": 80.0}, examples=[{}, {"x": 2.0}]), 200,
        {"results": [42.0, 3.0]}),
    Row(f"{CLASSIFIER} without the check of methods", "POST", REGRESS,
        asked("regress_x_to_y", examples=[{"x": 2.0, "b": {"b64": "AA=="}, "i": [1, True]}]), 200,
        {"results": [3.0]}),
    error(CLASSIFIER, CLASSIFY, {"examples": [{"x": 1.0}]},
          "No classification inputs found in SignatureDef"),
    error(REGRESSOR, REGRESS, {"examples": [{"x": 1.0}]},
          "No regression inputs found in SignatureDef"),
    error(CLASSIFIER, CLASSIFY, asked("nobody", examples=[{"x": 1.0}]),
          "No signature was found with the name: nobody"),
    error(CLASSIFIER, CLASSIFY, asked("mixed", examples=[{"x": 1.0}]),
          "Expected one input Tensor."),
    error(REGRESSOR, REGRESS, asked("classify_labelled", examples=[{"x": 1.0}]),
          "Expected one output Tensor."),
    error(JSON_TENSOR, REGRESS, {},
          "JSON Value: {} When method is classify, key 'examples' is expected and was not found"),
    error(JSON_TENSOR, REGRESS, {"examples": 5},
          'JSON Value: {\n    "examples": 5\n} Expecting \'examples\' value to be an list/array'),
    error(JSON_TENSOR, REGRESS, {"examples": []},
          'JSON Value: {\n    "examples": []\n} \'examples\' value is an empty array'),
    error(JSON_TENSOR, REGRESS, {"examples": [5]},
          "Example must be JSON object but got JSON Number"),
    error(JSON_TENSOR, REGRESS, {"examples": [{"x": None}]},
          "Feature: x has element with unexpected JSON type: Null"),
    error(JSON_TENSOR, REGRESS, {"examples": [{"x": [[1]]}]},
          "Feature: x has element with unexpected JSON type: Array"),
    error(JSON_TENSOR, REGRESS, {"examples": [{"x": {"a": 1}}]},
          "Feature: x has element with unexpected JSON type: Object"),
    error(JSON_TENSOR, REGRESS, {"examples": [{"x": [1.5, "a"]}]},
          "Unexpected element type in feature: x expecting type: float"),
    error(JSON_TENSOR, REGRESS, {"examples": [{"x": 2**63}]},
          "Feature: x has uint64 element. Only int64 is supported."),
    error(JSON_TENSOR, REGRESS, {"examples": [{"x": 1e39}]},
          "Cannot convert JSON value: 1e+39 to float without loss of precision."),
    # Elsewhere.
    Row(OWN, "GET", "/health", None, 200, {"status": "SERVING"}),
]  # fmt: skip


def ask(
    server: ThreadedServer, method: str, path: str, body: Any, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.ports.rest, timeout=60)
    try:
        raw = json.dumps(body).encode() if isinstance(body, dict | list) else body
        connection.request(method, path, raw, headers)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("row", ROWS, ids=[f"{i}-{row.fact}" for i, row in enumerate(ROWS)])
def test_answers_as_the_sources_of_tensorflow_serving_say(
    memory_server: ThreadedServer, row: Row
) -> None:
    status, headers, body = ask(memory_server, row.method, row.path, row.body)
    assert (status, json.loads(body)) == (row.status, row.answer)
    assert headers["content-type"] == "application/json"
    assert int(headers["content-length"]) == len(body)
    assert headers["date"].endswith(" GMT")


def test_writes_nan_and_infinity_as_these_words(memory_server: ThreadedServer) -> None:
    """json_tensor.cc, WriteDecimal."""
    _, _, body = ask(memory_server, "POST", PREDICT, asked("unfinite", instances=[1, 1, 1, 1]))
    assert body == b'{"predictions": [NaN, Infinity, -Infinity, 0.1]}'


@pytest.mark.parametrize("word", [b"NaN", b"Infinity", b"-Infinity", b"Inf", b"-Inf"])
def test_reads_nan_and_infinity(memory_server: ThreadedServer, word: bytes) -> None:
    """json_tensor.cc, kParseNanAndInfFlag."""
    _, _, body = ask(memory_server, "POST", PREDICT, b'{"instances": [%b, 1]}' % word)
    text = word.replace(b"Infinity", b"Inf").replace(b"Inf", b"Infinity")
    assert body == b'{"predictions": [%b, 2.5]}' % text


def test_answers_other_paths_with_libevents_page(memory_server: ThreadedServer) -> None:
    """net_http/server/internal/evhttp_server.cc: evhttp_send_error(HTTP_NOTFOUND)."""
    status, headers, body = ask(memory_server, "GET", "/index.html", None)
    assert (status, headers["content-type"]) == (404, "text/html")
    assert body == (
        b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n"
        b"<H1>Not Found</H1>\n</BODY></HTML>\n"
    )


def test_reads_a_compressed_body(memory_server: ThreadedServer) -> None:
    """evhttp_request.cc: a body is decompressed where Content-Encoding names gzip."""
    import gzip

    raw = gzip.compress(b'{"instances": [1]}')
    status, _, body = ask(memory_server, "POST", PREDICT, raw, **{"Content-Encoding": "gzip"})
    assert (status, body) == (200, b'{"predictions":[2.5]}')
    status, _, body = ask(memory_server, "POST", PREDICT, b"x", **{"Content-Encoding": "gzip"})
    assert (status, body) == (400, b'{"error":"JSON Parse error: The document is empty"}')


def test_reads_a_byte_order_mark(memory_server: ThreadedServer) -> None:
    """json_tensor.cc: rapidjson::EncodedInputStream skips it."""
    assert ask(memory_server, "POST", PREDICT, b'\xef\xbb\xbf{"instances": [1]}')[0] == 200
