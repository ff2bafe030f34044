import { Socket } from "node:net";

const READ_BYTES = 64 * 1024;

/**
 * A connected socket of which every byte is read into one buffer, overwritten once its listeners have had it: what they keep of
 * a `data` event they copy. (By itself Node reads into memory that it gives back unwiped.) Nothing is read before somebody
 * listens. Takes over the descriptor.
 */
export function openSocket(fd: number): Socket {
  const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  const socket: Socket = new Socket({
    fd,
    readable: true,
    writable: true,
    onread: {
      buffer,
      callback: (length: number): boolean => {
        const bytes = buffer.subarray(0, length);
        try {
          socket.emit("data", bytes);
        } finally {
          bytes.fill(0);
        }
        return true;
      },
    },
  });
  socket.pause();
  socket.on("newListener", (event) => {
    if (event === "data") socket.resume();
  });
  return socket;
}
