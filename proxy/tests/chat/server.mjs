// A chat server: what one member of the room says, all of its members hear. Prints its port.
import { createServer } from "node:http";
import { Server } from "socket.io";

const server = createServer();
const chat = new Server(server, { serveClient: false });
chat.on("connection", (member) => {
  member.join("room");
  member.on("say", (text, heard) => {
    chat.to("room").emit("said", member.id, text);
    heard(chat.sockets.adapter.rooms.get("room").size);
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
