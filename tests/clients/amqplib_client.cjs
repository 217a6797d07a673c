// AMQP 0.9.1 with the npm package amqplib: `call` a method through callway, or `answer` one as a
// service. One argument, a JSON object; see tests/it/foreign.rs.
"use strict";
const amqp = require("amqplib");

const task = JSON.parse(process.argv[2]);

function first(channel, queue, options) {
  return new Promise((resolve, reject) => channel.consume(queue, resolve, options).catch(reject));
}

async function call(channel) {
  const { queue } = await channel.assertQueue("", { exclusive: true });
  const replied = first(channel, queue, { noAck: true });
  channel.sendToQueue(task.queue, Buffer.from(JSON.stringify(task.params)), {
    contentType: "application/json",
    replyTo: queue,
    correlationId: "amqplib-1",
    headers: { method: task.method, token: task.token },
  });
  const reply = await replied;
  if (reply.properties.correlationId !== "amqplib-1") throw new Error("correlation");
  if (reply.properties.headers.status !== "ok") throw new Error(reply.content.toString());
  return JSON.parse(reply.content);
}

async function answer(channel) {
  await channel.assertQueue(task.queue, { exclusive: true });
  let ready;
  const asked = new Promise((resolve) => (ready = resolve));
  await channel.consume(task.queue, ready);
  console.log("ready");
  const request = await asked;
  const result = { by: "amqplib", params: JSON.parse(request.content) };
  const { replyTo, correlationId } = request.properties;
  channel.sendToQueue(replyTo, Buffer.from(JSON.stringify(result)), { correlationId });
  channel.ack(request);
  return "answered";
}

async function main() {
  const connection = await amqp.connect(task.url);
  const channel = await connection.createChannel();
  console.log(JSON.stringify(await { call, answer }[task.do](channel)));
  await channel.close();
  await connection.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
