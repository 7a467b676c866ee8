// Sends messages through wss with Node's `ws`, and prints what came back. Arguments: the URL and the trusted certificates.
const fs = require("node:fs");
const WebSocket = require("ws");

const [url, authority] = process.argv.slice(2);
const socket = new WebSocket(url, { ca: fs.readFileSync(authority) });
const sizes = [0, 1, 125, 126, 16384, 16385, 65536, 300000];
let next = 0;

function send() {
  if (next === sizes.length) return socket.close(1000, "done");
  socket.send(Buffer.alloc(sizes[next], next));
}

socket.on("open", send);
socket.on("message", (data) => {
  if (!data.equals(Buffer.alloc(sizes[next], next))) throw new Error(`message ${next} came back changed`);
  next += 1;
  send();
});
socket.on("close", (code) => console.log(`${next} messages over ${socket.protocol || "no subprotocol"}, closed with ${code}`));
socket.on("error", (error) => {
  console.error(error);
  process.exit(1);
});
