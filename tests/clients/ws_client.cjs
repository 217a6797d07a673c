// JSON-RPC with the npm package ws: `call` a method, or `answer` one as a worker. One argument, a
// JSON object; see tests/it/foreign.rs.
"use strict";
const { once } = require("node:events");
const WebSocket = require("ws");

const task = JSON.parse(process.argv[2]);

async function receive(socket) {
  const [data] = await once(socket, "message");
  return JSON.parse(data);
}

function request(socket, method, params) {
  const received = receive(socket);
  socket.send(JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }));
  return received;
}

async function call(socket) {
  return (await request(socket, task.method, task.params)).result;
}

async function answer(socket) {
  await request(socket, "callway.serve", { methods: [task.method] });
  const asked = receive(socket);
  console.log("ready");
  const { id, params } = await asked;
  const result = { by: "ws", params };
  socket.send(JSON.stringify({ jsonrpc: "2.0", id, result }));
  return "answered";
}

async function main() {
  const headers = { Authorization: `Bearer ${task.token}` };
  const socket = new WebSocket(task.url, { headers });
  await once(socket, "open");
  console.log(JSON.stringify(await { call, answer }[task.do](socket)));
  socket.close();
  await once(socket, "close");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
