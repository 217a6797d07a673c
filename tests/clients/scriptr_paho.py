"""scriptr's MQTT addresses with paho-mqtt: listens to a channel, publishes to it in the two ways that
devices have, and invokes a script. One argument, a JSON object; see tests/it/scriptr/buses.rs and
tests/it/mqtt_listener/scriptr.rs.
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
account, channel = task["account"], task["channel"]
client = mqtt.Client(
    mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5 if v5 else mqtt.MQTTv311
)
subscribed, inbox = queue.Queue(), queue.Queue()
client.on_subscribe = lambda *args: subscribed.put(True)
client.on_message = lambda client, data, message: inbox.put(message)
if "token" in task:
    client.username_pw_set("acme", task["token"])
client.connect("127.0.0.1", task["port"])
client.loop_start()
for topic in [f"{account}/{channel}/message", task["reply_topic"]]:
    client.subscribe(topic, qos=1)
    subscribed.get(timeout=PATIENCE)
print("ready", flush=True)

client.publish(f"{account}/{channel}/message", "from paho", qos=1)
older = {"apsdb.channel": channel, "apsdb.message": "{'from': 'an older device'}"}
client.publish(account, json.dumps({"method": "Publish", "params": older}), qos=1)
call = {"method": task["method"], "params": {"name": "paho"}}
properties = None
if v5:
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic = task["reply_topic"]
    properties.CorrelationData = b"1"
else:
    call |= {"id": 1, "reply_to": task["reply_topic"]}
client.publish(f"{account}/{channel}/invoke", json.dumps(call), qos=1, properties=properties)

heard, reply = [], None
while reply is None or len(heard) < task["events"]:
    message = inbox.get(timeout=PATIENCE)
    if message.topic == task["reply_topic"]:
        reply = json.loads(message.payload)
    else:
        heard.append(message.payload.decode())
try:
    heard.append(inbox.get(timeout=0.5).payload.decode())
except queue.Empty:
    pass
print(json.dumps({"heard": sorted(heard), "reply": reply}), flush=True)
