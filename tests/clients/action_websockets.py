"""Many users of the Action API at once with the Python package websockets, each on a socket of its
own: registers, decides, leaves. Prints what each was told.

One argument, a JSON object: `url`, `api_key`, `users`.
"""

import asyncio
import json
import sys

import websockets


async def ask(socket, **message):
    await socket.send(json.dumps(message))
    return json.loads(await asyncio.wait_for(socket.recv(), 20))


async def visit(task, user):
    name = f"user {user}"
    async with websockets.connect(task["url"]) as socket:
        registered = await ask(
            socket, action="Register", API_KEY=task["api_key"], checksum=f"checksum {user}",
            name=name, prompt="be short",
        )
        token = registered["token"]
        decided = await ask(socket, action="TakeDecision", token=token, message=name)
        left = await ask(socket, action="Disconnect", token=token)
        refused = await ask(socket, action="TakeDecision", token=token, message=name)
        return [decided["message"], left["message"], refused["message"]]


async def main(task):
    visits = (visit(task, user) for user in range(task["users"]))
    print(json.dumps(await asyncio.gather(*visits)), flush=True)


asyncio.run(main(json.loads(sys.argv[1])))
