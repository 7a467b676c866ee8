"""Sends messages through wss with a certificate authority of the test, and says how the connection ended.

Arguments: the URL, the file of trusted certificates, and what to do: `echo`, or `wait` for the other side to close.
"""

import asyncio
import random
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


def messages():
    generator = random.Random(1)
    for size in (0, 1, 125, 16384, 16385, 70000, 1 << 20):
        yield "text ä " * (size // 7)
        yield generator.randbytes(size)


async def echo(connection):
    count = 0
    for message in messages():
        await connection.send(message)
        assert await connection.recv() == message, f"message {count} came back changed"
        count += 1
    await connection.close()
    print(f"{count} messages, closed with {connection.close_code}")


async def wait(connection):
    await connection.send("ready")
    assert await connection.recv() == "ready"
    print("ready", flush=True)
    try:
        await connection.recv()
    except ConnectionClosed as closed:
        print(f"closed with {closed.rcvd.code if closed.rcvd else None}")


async def main(url, authority, what):
    context = None
    if url.startswith("wss:"):
        context = ssl.create_default_context(cafile=authority)
    async with connect(url, ssl=context, max_size=None) as connection:
        await {"echo": echo, "wait": wait}[what](connection)


asyncio.run(main(*sys.argv[1:]))
