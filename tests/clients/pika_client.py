"""AMQP 0.9.1 with pika: `call` a method through callway, or `answer` one as a service.

One argument, a JSON object; see tests/it/foreign.rs.
"""

import json
import sys

import pika

PATIENCE = 20


def call(task, channel):
    replies = channel.queue_declare("", exclusive=True).method.queue
    properties = pika.BasicProperties(
        content_type="application/json",
        reply_to=replies,
        correlation_id="pika-1",
        headers={"method": task["method"], "token": task["token"]},
    )
    channel.basic_publish("", task["queue"], json.dumps(task["params"]), properties)
    for _, properties, body in channel.consume(replies, auto_ack=True, inactivity_timeout=PATIENCE):
        assert body is not None, "no reply"
        assert properties.correlation_id == "pika-1"
        assert properties.headers["status"] == "ok", (properties, body)
        return json.loads(body)


def answer(task, channel):
    channel.queue_declare(task["queue"], exclusive=True)
    print("ready", flush=True)
    for method, request, body in channel.consume(task["queue"], inactivity_timeout=PATIENCE):
        assert body is not None, "no request"
        result = {"by": "pika", "params": json.loads(body)}
        properties = pika.BasicProperties(correlation_id=request.correlation_id)
        channel.basic_publish("", request.reply_to, json.dumps(result), properties)
        channel.basic_ack(method.delivery_tag)
        return "answered"


task = json.loads(sys.argv[1])
with pika.BlockingConnection(pika.URLParameters(task["url"])) as connection:
    work = {"call": call, "answer": answer}[task["do"]]
    print(json.dumps(work(task, connection.channel())), flush=True)
