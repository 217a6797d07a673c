"""scriptr with the PyPI package websocket-client, as scriptr's public Python clients use it: the first
message is thrown away, messages are no JSON, and each call waits for its answer. One argument, a JSON
object; see tests/it/scriptr/clients.rs.
"""

import json
import sys

import websocket

PATIENCE = 20
task = json.loads(sys.argv[1])


def invoke(method, params):
    connection = websocket.create_connection(f"{task['url']}/{task['token']}", timeout=PATIENCE)
    connection.recv()
    connection.send(json.dumps({"method": method, "params": params}))
    answer = json.loads(connection.recv())
    connection.close()
    return answer


def closed_with(token):
    connection = websocket.create_connection(f"{task['url']}/{token}", timeout=PATIENCE)
    opcode, data = connection.recv_data()
    assert opcode == websocket.ABNF.OPCODE_CLOSE, (opcode, data)
    return int.from_bytes(data[:2], "big")


listener = websocket.create_connection(f"{task['url']}//{task['token']}", timeout=PATIENCE)
greeting = json.loads(listener.recv())
listener.send(json.dumps({"method": "Subscribe", "params": {"channel": task["channel"]}}))
subscribed = json.loads(listener.recv())
message = {"channel": task["channel"], "message": "{'message':'hey'}"}
published = invoke("Publish", message)
said = {
    "greeting": greeting["result"],
    "subscribed": subscribed["status"],
    "published": published["status"],
    "heard": listener.recv(),
    "result": invoke(task["method"], {"temperature": 22, "humidity": 43})["result"],
    "failure": invoke("no/such", {})["errorCode"],
    "closed": closed_with("bm9ib2R5=="),
}
print(json.dumps(said), flush=True)
