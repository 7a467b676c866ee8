"""Opens a WebSocket on a stream of HTTP/2 (RFC 8441) with the packages h2 and wsproto, and sends messages to an echo
server through it. Prints the status, the number of messages and how the WebSocket ended."""

import random
import socket
import sys

import h2.connection
import h2.events
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Message, TextMessage


class Client:
    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), 30)
        self.h2 = h2.connection.H2Connection()
        self.h2.initiate_connection()
        self.frames = Connection(ConnectionType.CLIENT)
        self.events, self.status, self.stream = [], None, None
        self.parts = []

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def step(self):
        """Takes what has arrived."""
        self.flush()
        data = self.socket.recv(65536)
        assert data, "the connection ended"
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self.status = dict(event.headers)[b":status"].decode()
            elif isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if event.data:
                    self.frames.receive_data(event.data)
                    self.events.extend(self.frames.events())
            else:
                assert not isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)), event
        self.flush()

    def open(self):
        while not self.h2.remote_settings.enable_connect_protocol:
            self.step()
        self.stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(
            self.stream,
            [
                (":method", "CONNECT"),
                (":protocol", "websocket"),
                (":scheme", "http"),
                (":path", "/ws/echo"),
                (":authority", "main.example"),
                ("sec-websocket-version", "13"),
            ],
        )
        while self.status is None:
            self.step()

    def send(self, event):
        data = self.frames.send(event)
        while data:
            room = min(self.h2.local_flow_control_window(self.stream), self.h2.max_outbound_frame_size)
            if room == 0:
                self.step()
                continue
            self.h2.send_data(self.stream, data[:room])
            data = data[room:]
            self.flush()

    def receive(self):
        """The next whole message, or the end."""
        parts = []
        while True:
            while not self.events:
                self.step()
            event = self.events.pop(0)
            if not isinstance(event, Message):
                return event
            parts.append(event.data)
            if event.message_finished:
                return parts[0][:0].join(parts)


def messages():
    generator = random.Random(1)
    for size in (0, 1, 125, 126, 65535, 65536, 1 << 17, 1 << 20):
        yield TextMessage("text ä " * (size // 7))
        yield BytesMessage(generator.randbytes(size))


client = Client(sys.argv[1])
client.open()
count = 0
for message in messages():
    client.send(message)
    assert client.receive() == message.data, f"message {count} came back changed"
    count += 1
client.send(CloseConnection(1000))
print(f"{client.status}, {count} messages, closed {client.receive().code}")
