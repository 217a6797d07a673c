// scriptr with the npm package ws, in the manner of its Node.js client: nothing is sent before the
// greeting, answers belong to calls in the order in which these were sent, a result is looked for in
// `response`, and a subscriber hears every frame. One argument, a JSON object; see
// tests/it/scriptr/clients.rs.
"use strict";
const WebSocket = require("ws");

const task = JSON.parse(process.argv[2]);

class Client {
  constructor(onFrame) {
    this.queue = [];
    this.waiting = [];
    this.ready = false;
    this.socket = new WebSocket(`${task.url}/${task.token}`);
    this.socket.on("message", (data) => {
      if (!this.ready) {
        this.ready = true;
        this.queue.splice(0).forEach((frame) => this.socket.send(frame));
      } else if (onFrame) {
        onFrame(data.toString());
      } else {
        const answer = JSON.parse(data);
        const status = answer.status || answer.response.metadata.status;
        const result = answer.response.result;
        this.waiting.shift()({ status, result, code: result.errorCode });
      }
    });
  }

  send(method, params, extra) {
    const frame = JSON.stringify({ method, params, ...extra });
    if (this.ready) this.socket.send(frame);
    else this.queue.push(frame);
  }

  call(method, params) {
    return new Promise((resolve) => {
      this.waiting.push(resolve);
      this.send(method, params, { hostname: "unknown members are ignored" });
    });
  }
}

async function main() {
  const frames = [];
  let enough;
  const heard = new Promise((resolve) => (enough = resolve));
  const subscriber = new Client((frame) => {
    frames.push(frame);
    if (frames.length === 1) callAll();
    if (frames.length === 3) enough();
  });
  subscriber.send("Subscribe", { channel: task.channel });
  const client = new Client();
  let answers;
  function callAll() {
    answers = Promise.all([
      client.call(task.method, { wait: 1 }),
      client.call(task.method, {}),
      client.call("no/such", {}),
      client.call("Publish", { channel: task.channel, message: "one" }),
      client.call("Publish", { channel: task.channel, message: { id: "tag", result: { two: 2 } } }),
    ]);
  }
  await heard;
  const said = { answers: await answers, subscribed: JSON.parse(frames[0]).status };
  console.log(JSON.stringify({ ...said, heard: frames.slice(1) }));
  client.socket.close();
  subscriber.socket.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
