"""Talks to a monitor and to its guest's side with QEMU's own Python client, and prints the events it hears."""

import asyncio
import sys

from qemu.qmp import ExecuteError, QMPClient

WANTED = {"ACPI_DEVICE_OST", "BALLOON_CHANGE", "GUEST_PANICKED", "QUORUM_FAILURE", "QUORUM_REPORT_BAD"}


async def provoke(monitor):
    """Causes four of the five for their reasons."""
    status = await monitor.execute("query-status")
    assert status["status"] == "running", status
    assert (await monitor.execute("query-name"))["name"] == "web1"
    try:
        await monitor.execute("no-such-command")
    except ExecuteError as error:
        assert error.error_class == "CommandNotFound", error
    else:
        raise AssertionError("a command that is not there was executed")

    await monitor.execute("balloon", {"value": 128 << 20})
    await monitor.execute("object-add", {"qom-type": "memory-backend-ram", "id": "m1", "size": 128 << 20})
    await monitor.execute("device_add", {"driver": "pc-dimm", "id": "d1", "memdev": "m1"})
    for command in ("read 4096 4096", "read 65536 512"):
        line = f'qemu-io q0 "{command}"'
        assert await monitor.execute("human-monitor-command", {"command-line": line}) == ""


async def main(monitor_path, guest_path):
    monitor, guest = QMPClient("monitor"), QMPClient("guest")
    await monitor.connect(monitor_path)
    await guest.connect(guest_path)
    left = set(WANTED)

    async def listen():
        async for event in monitor.events:
            print(event["event"], flush=True)
            left.discard(event["event"])
            # A guest that panicked does nothing any more, so that comes last.
            if left == {"GUEST_PANICKED"}:
                await guest.execute("panic")
            if not left:
                return

    listener = asyncio.create_task(listen())
    await provoke(monitor)
    await asyncio.wait_for(listener, timeout=180)
    await guest.disconnect()
    await monitor.disconnect()


asyncio.run(main(*sys.argv[1:]))
