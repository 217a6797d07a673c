// A device without a broker, with the npm package mqtt: it hears its own three events and calls a
// script. One argument, a JSON object; see tests/it/mqtt_listener/clients.rs.
"use strict";
const fs = require("fs");
const mqtt = require("mqtt");

const task = JSON.parse(process.argv[2]);
const v5 = task.version === 5;
const urls = { tcp: "mqtt://localhost", tls: "mqtts://localhost", ws: "ws://localhost" };

async function main() {
  const path = task.transport === "ws" ? "/mqtt" : "";
  const client = await mqtt.connectAsync(`${urls[task.transport]}:${task.port}${path}`, {
    protocolVersion: task.version,
    clientId: task.client,
    username: "device",
    password: task.token,
    ca: task.transport === "tls" ? fs.readFileSync(task.ca) : undefined,
  });
  const inbox = [];
  let wake = () => {};
  client.on("message", (_topic, payload, packet) => {
    inbox.push({ payload: payload.toString(), qos: packet.qos });
    wake();
  });
  const next = async () => {
    while (inbox.length === 0) await new Promise((resolve) => (wake = resolve));
    return inbox.shift();
  };
  await client.subscribeAsync(["mine/#", "callway/reply/me"], { qos: 2 });
  const events = [];
  for (const [qos, text] of ["zero", "one", "two"].entries()) {
    await client.publishAsync("mine/x", text, { qos });
    const message = await next();
    if (message.qos !== qos) throw new Error(`QoS ${message.qos}`);
    events.push(message.payload);
  }
  const params = { name: "device" };
  let reply;
  if (v5) {
    const properties = { responseTopic: "callway/reply/me", correlationData: Buffer.from("1") };
    await client.publishAsync("callway/call/greet", JSON.stringify(params), { qos: 1, properties });
    reply = JSON.parse((await next()).payload);
  } else {
    const call = { method: "greet", params, id: 1, reply_to: "callway/reply/me" };
    await client.publishAsync("callway/call", JSON.stringify(call), { qos: 1 });
    reply = JSON.parse((await next()).payload).result;
  }
  await client.endAsync();
  console.log(JSON.stringify({ events, reply }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
