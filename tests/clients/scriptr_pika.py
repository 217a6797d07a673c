"""scriptr's AMQP addresses with pika: listens to a channel, publishes to it, and invokes a script.
One argument, a JSON object; see tests/it/scriptr/buses.rs.
"""

import json
import sys

import pika

PATIENCE = 20
task = json.loads(sys.argv[1])
exchange = f"{task['account']}-{task['channel']}"
key = f"{task['account']}.{task['channel']}"

with pika.BlockingConnection(pika.URLParameters(task["url"])) as connection:
    channel = connection.channel()
    inbox = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(inbox, exchange, f"{key}.message")
    print("ready", flush=True)

    channel.basic_publish(exchange, f"{key}.message", "from pika")
    call = {"method": task["method"], "params": {"name": "pika"}}
    properties = pika.BasicProperties(reply_to=inbox, correlation_id="1")
    channel.basic_publish(exchange, f"{key}.invoke", json.dumps(call), properties)

    heard, reply = [], None
    for _, properties, body in channel.consume(inbox, auto_ack=True, inactivity_timeout=PATIENCE):
        assert body is not None, (heard, reply)
        if properties.correlation_id == "1":
            assert properties.headers["status"] == "ok", (properties, body)
            reply = json.loads(body)
        else:
            heard.append(body.decode())
        if reply is not None and len(heard) == task["events"]:
            break
    channel.cancel()
    _, _, more = channel.basic_get(inbox)
    if more is not None:
        heard.append(more.decode())
    print(json.dumps({"heard": sorted(heard), "reply": reply}), flush=True)
