"""A device without a broker, with paho-mqtt: it hears its own three events and calls a script.

One argument, a JSON object; see tests/it/mqtt_listener/clients.rs. Prints one line of JSON.
"""

import json
import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PATIENCE = 20
task = json.loads(sys.argv[1])
v5 = task["version"] == 5

client = mqtt.Client(
    mqtt.CallbackAPIVersion.VERSION2,
    client_id=task["client"],
    protocol=mqtt.MQTTv5 if v5 else mqtt.MQTTv311,
    transport="websockets" if task["transport"] in ("ws", "wss") else "tcp",
)
if "token" in task:
    client.username_pw_set("device", task["token"])
if task["transport"] in ("ws", "wss"):
    client.ws_set_options(path="/mqtt")
if task["transport"] in ("tls", "wss"):
    client.tls_set(ca_certs=task["ca"], certfile=task.get("certificate"), keyfile=task.get("key"))
subscribed, inbox = queue.Queue(), queue.Queue()
client.on_subscribe = lambda *args: subscribed.put(True)
client.on_message = lambda client, data, message: inbox.put(message)
client.connect("localhost", task["port"])
client.loop_start()
for topic in ("mine/#", "callway/reply/me"):
    client.subscribe(topic, qos=2)
    subscribed.get(timeout=PATIENCE)

events = []
for qos, text in enumerate(("zero", "one", "two")):
    client.publish("mine/x", text, qos=qos).wait_for_publish(PATIENCE)
    message = inbox.get(timeout=PATIENCE)
    assert message.qos == qos, message.qos
    events.append(message.payload.decode())

params = {"name": "device"}
if v5:
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic = "callway/reply/me"
    properties.CorrelationData = b"1"
    client.publish("callway/call/greet", json.dumps(params), qos=1, properties=properties)
    reply = json.loads(inbox.get(timeout=PATIENCE).payload)
else:
    call = {"method": "greet", "params": params, "id": 1, "reply_to": "callway/reply/me"}
    client.publish("callway/call", json.dumps(call), qos=1)
    reply = json.loads(inbox.get(timeout=PATIENCE).payload)["result"]
client.disconnect()
print(json.dumps({"events": events, "reply": reply}), flush=True)
