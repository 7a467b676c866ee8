"""Sends messages of several kinds and sizes to an echo server and prints the negotiated extension and their number."""

import asyncio
import random
import sys

from websockets.asyncio.client import connect


def messages():
    generator = random.Random(1)
    for size in (0, 1, 125, 126, 65535, 65536, 1 << 20):
        yield "text ä " * (size // 7)
        yield generator.randbytes(size)


async def main(url):
    async with connect(url, max_size=None) as connection:
        count = 0
        for message in messages():
            await connection.send(message)
            assert await connection.recv() == message, f"message {count} came back changed"
            count += 1
        for fragments in (["a", "b" * 70000, ""], [b"c", b"", b"d" * 5]):
            await connection.send(fragments)
            whole = fragments[0][:0].join(fragments)
            assert await connection.recv() == whole, "a fragmented message came back changed"
            count += 1
        assert await asyncio.wait_for(await connection.ping("still there"), 10) >= 0
    assert connection.close_code == 1000, connection.close_code
    extension = connection.response.headers.get("Sec-WebSocket-Extensions", "none")
    print(f"{extension}, {count} messages")


asyncio.run(main(sys.argv[1]))
