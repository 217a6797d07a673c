"""MQTT 5 and 3.1.1 with paho-mqtt: `call` a method through callway, or `answer` one as a device.

One argument, a JSON object; see tests/it/foreign.rs. Prints one line of JSON when it is done, and
before that `ready` if it answers.
"""

import json
import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PATIENCE = 20


def connect(task):
    v5 = task["version"] == 5
    client = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5 if v5 else mqtt.MQTTv311
    )
    subscribed, inbox = queue.Queue(), queue.Queue()
    client.on_subscribe = lambda *args: subscribed.put(True)
    client.on_message = lambda client, data, message: inbox.put(message)
    client.connect("127.0.0.1", task["port"])
    client.loop_start()

    def subscribe(topic):
        client.subscribe(topic, qos=1)
        subscribed.get(timeout=PATIENCE)

    return client, subscribe, inbox


def call(task):
    client, subscribe, inbox = connect(task)
    subscribe(task["reply_topic"])
    if task["version"] == 5:
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = task["reply_topic"]
        properties.CorrelationData = b"paho-1"
        properties.UserProperty = [("token", task["token"])]
        topic = f"{task['calls']}/{task['method']}"
        client.publish(topic, json.dumps(task["params"]), qos=1, properties=properties)
        reply = inbox.get(timeout=PATIENCE)
        assert reply.properties.CorrelationData == b"paho-1"
        assert ("status", "ok") in reply.properties.UserProperty, reply.properties
        return json.loads(reply.payload)
    envelope = {
        "method": task["method"],
        "params": task["params"],
        "id": "paho-1",
        "token": task["token"],
        "reply_to": task["reply_topic"],
    }
    client.publish(task["calls"], json.dumps(envelope), qos=1)
    reply = json.loads(inbox.get(timeout=PATIENCE).payload)
    assert reply["jsonrpc"] == "2.0" and reply["id"] == "paho-1", reply
    return reply["result"]


def answer(task):
    client, subscribe, inbox = connect(task)
    subscribe(task["topic"])
    print("ready", flush=True)
    request = inbox.get(timeout=PATIENCE)
    if task["version"] == 5:
        properties = Properties(PacketTypes.PUBLISH)
        properties.CorrelationData = request.properties.CorrelationData
        result = {"by": "paho", "params": json.loads(request.payload)}
        topic = request.properties.ResponseTopic
        sent = client.publish(topic, json.dumps(result), qos=1, properties=properties)
    else:
        envelope = json.loads(request.payload)
        result = {"by": "paho", "params": envelope["params"]}
        response = {"jsonrpc": "2.0", "id": envelope["id"], "result": result}
        sent = client.publish(envelope["reply_to"], json.dumps(response), qos=1)
    sent.wait_for_publish(PATIENCE)
    return "answered"


task = json.loads(sys.argv[1])
print(json.dumps({"call": call, "answer": answer}[task["do"]](task)), flush=True)
