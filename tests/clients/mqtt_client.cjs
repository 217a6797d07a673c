// MQTT 5 and 3.1.1 with the npm package mqtt: `call` a method through callway, or `answer` one as
// a device. One argument, a JSON object; see tests/it/foreign.rs.
"use strict";
const mqtt = require("mqtt");

const task = JSON.parse(process.argv[2]);
const v5 = task.version === 5;

async function call(client) {
  await client.subscribeAsync(task.reply_topic, { qos: 1 });
  const replied = new Promise((resolve) =>
    client.once("message", (_topic, payload, packet) => resolve({ payload, packet })),
  );
  if (v5) {
    const properties = {
      responseTopic: task.reply_topic,
      correlationData: Buffer.from("node-1"),
      userProperties: { token: task.token },
    };
    const topic = `${task.calls}/${task.method}`;
    await client.publishAsync(topic, JSON.stringify(task.params), { qos: 1, properties });
    const { payload, packet } = await replied;
    if (packet.properties.correlationData.toString() !== "node-1") throw new Error("correlation");
    if (packet.properties.userProperties.status !== "ok") throw new Error(payload.toString());
    return JSON.parse(payload);
  }
  const { method, params, token, reply_topic: reply_to } = task;
  const envelope = { method, params, id: "node-1", token, reply_to };
  await client.publishAsync(task.calls, JSON.stringify(envelope), { qos: 1 });
  const response = JSON.parse((await replied).payload);
  if (response.id !== "node-1") throw new Error("id");
  return response.result;
}

async function answer(client) {
  const asked = new Promise((resolve) =>
    client.once("message", (_topic, payload, packet) => resolve({ payload, packet })),
  );
  await client.subscribeAsync(task.topic, { qos: 1 });
  console.log("ready");
  const { payload, packet } = await asked;
  const request = JSON.parse(payload);
  if (v5) {
    const { responseTopic, correlationData } = packet.properties;
    const result = { by: "node", params: request };
    await client.publishAsync(responseTopic, JSON.stringify(result), {
      qos: 1,
      properties: { correlationData },
    });
  } else {
    const result = { by: "node", params: request.params };
    const response = { jsonrpc: "2.0", id: request.id, result };
    await client.publishAsync(request.reply_to, JSON.stringify(response), { qos: 1 });
  }
  return "answered";
}

async function main() {
  const url = `mqtt://127.0.0.1:${task.port}`;
  const client = await mqtt.connectAsync(url, { protocolVersion: task.version });
  console.log(JSON.stringify(await { call, answer }[task.do](client)));
  await client.endAsync();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
