"""JSON-RPC with the Python package websockets: `call` a method, or `answer` one as a worker.

One argument, a JSON object; see tests/it/foreign.rs.
"""

import asyncio
import json
import sys


def rpc(id, method, params):
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params})


async def call(task, socket):
    await socket.send(rpc(1, task["method"], task["params"]))
    return json.loads(await socket.recv())["result"]


async def answer(task, socket):
    await socket.send(rpc(1, "callway.serve", {"methods": [task["method"]]}))
    assert "result" in json.loads(await socket.recv())
    print("ready", flush=True)
    request = json.loads(await socket.recv())
    result = {"by": "websockets", "params": request["params"]}
    await socket.send(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}))
    return "answered"


async def main(task):
    import websockets

    headers = {"Authorization": "Bearer " + task["token"]}
    async with websockets.connect(task["url"], additional_headers=headers) as socket:
        work = {"call": call, "answer": answer}[task["do"]]
        print(json.dumps(await asyncio.wait_for(work(task, socket), 20)), flush=True)


asyncio.run(main(json.loads(sys.argv[1])))
