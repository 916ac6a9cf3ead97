"""Asks a shared monitor with QEMU's own Python client all the time, until it has heard so many events; prints those."""

import asyncio
import sys

from qemu.qmp import ExecuteError, QMPClient


async def main(path, wanted):
    monitor = QMPClient("shared")
    await monitor.connect(path)
    print("connected", flush=True)
    heard = 0

    async def listen():
        nonlocal heard
        async for event in monitor.events:
            print("event", event["event"], flush=True)
            heard += 1
            if heard == wanted:
                return

    listener = asyncio.create_task(listen())
    asked = 0
    while not listener.done():
        assert (await monitor.execute("query-name"))["name"] == "web1"
        try:
            await monitor.execute(f"no-such-{asked}")
        except ExecuteError as error:
            assert error.error_class == "CommandNotFound" and f"no-such-{asked} " in str(error), error
        else:
            raise AssertionError("a command that is not there was executed")
        asked += 1
    print("asked", asked, flush=True)
    await monitor.disconnect()


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
