"""A client of the Action API with the Python package websocket-client, as its test scripts have it:
a thread receives, commands are typed, one token is kept.

One argument, a JSON object: `url`, `api_key`, `checksum`, and `reads`, the member of an answer that
this generation of clients takes its token from. The older one has no API key to register with, and
takes whatever the last answer held for its token. Each answer is printed.
"""

import json
import sys
import threading

import websocket

task = json.loads(sys.argv[1])
token = None


def on_message(socket, message):
    global token
    answer = json.loads(message)
    if answer["status"] == "success" and isinstance(answer.get(task["reads"]), str):
        token = answer[task["reads"]]
    print(json.dumps(answer), flush=True)


def on_error(socket, error):
    print(json.dumps({"error": str(error)}), flush=True)


def message_for(command):
    if command == "Register":
        message = {"checksum": task["checksum"], "name": "tom", "prompt": "juste le boss"}
        if task["reads"] == "token":
            message["API_KEY"] = task["api_key"]
    elif command == "Connection":
        message = {"checksum": task["checksum"]}
    elif command == "TakeDecision":
        message = {"token": token, "message": "Hello World"}
    else:
        message = {"token": token}
    return json.dumps({"action": command, **message})


opened = threading.Event()
app = websocket.WebSocketApp(
    task["url"],
    on_open=lambda socket: opened.set(),
    on_message=on_message,
    on_error=on_error,
)
threading.Thread(target=app.run_forever, daemon=True).start()
assert opened.wait(20)
print("ready", flush=True)
for line in sys.stdin:
    if line.strip() == "exit":
        break
    app.send(message_for(line.strip()))
app.close()
