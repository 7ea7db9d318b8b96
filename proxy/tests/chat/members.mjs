// Members of a chat room: `members.mjs URL`. Each line on standard input is said by every member, and every member
// must hear all who are at its server; then one line of JSON says how the members are connected. Ends with standard input.
import readline from "node:readline";
import { setTimeout } from "node:timers/promises";
import { io } from "socket.io-client";

const url = process.argv[2];
// As browsers do it: polled first and then upgraded, with the cookies that were set; and one by WebSocket alone.
const ways = [{ withCredentials: true }, { withCredentials: true }, { transports: ["websocket"] }];
const failed = (what) => (error) => {
  console.error(what, error);
  process.exit(1);
};

const members = await Promise.all(
  ways.map(
    (way) =>
      new Promise((joined) => {
        const socket = io(url, { ...way, forceNew: true, reconnection: false });
        const member = { socket, heard: [], polled: false };
        const polls = !way.transports;
        const ready = () => socket.connected && member.polled === polls && joined(member);
        socket.io.engine.once("upgrade", () => {
          member.polled = true;
          ready();
        });
        socket.on("connect_error", failed("connect"));
        socket.on("disconnect", failed("disconnect"));
        socket.on("said", (_, text) => member.heard.push(text));
        socket.on("connect", ready);
      }),
  ),
);

for await (const line of readline.createInterface({ input: process.stdin })) {
  const rooms = await Promise.all(members.map(({ socket }) => socket.timeout(20000).emitWithAck("say", line)));
  while (members.some((member, at) => member.heard.length < rooms[at])) await setTimeout(5);
  const heard = members.map((member) => member.heard.splice(0).length);
  console.log(
    JSON.stringify({
      rooms,
      heard,
      polled: members.map((member) => member.polled),
      transports: members.map(({ socket }) => socket.io.engine.transport.name),
      ids: members.map(({ socket }) => socket.id),
    }),
  );
}
process.exit(0);
