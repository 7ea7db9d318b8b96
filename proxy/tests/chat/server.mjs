// A chat server: what one member of the room says, all of its members hear. Prints its port.
import { Server } from "socket.io";

const chat = new Server({ serveClient: false });
chat.on("connection", (member) => {
  member.join("room");
  member.on("say", (text, heard) => {
    chat.to("room").emit("said", member.id, text);
    heard(chat.sockets.adapter.rooms.get("room").size);
  });
});
chat.listen(0);
chat.httpServer.on("listening", () => console.log(chat.httpServer.address().port));
