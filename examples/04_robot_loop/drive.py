"""The other end, for a look at it: prints how fast the robot may go whenever that changes. python drive.py [SECONDS]

The slower of the two counts; one that is silent for 300 ms counts as a stop. A motor controller does this in firmware.
"""

import json
import socket
import sys
import time

SILENT_S = 0.3

end_s = time.monotonic() + float(sys.argv[1] if len(sys.argv) > 1 else "inf")
heard: dict[str, tuple[float, float]] = {}  # from -> when, speed
shown = -1.0
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as drive:
    drive.bind(("127.0.0.1", 9870))
    drive.settimeout(0.05)
    while time.monotonic() < end_s:
        try:
            message = json.loads(drive.recv(4096))
            heard[message["from"]] = (time.monotonic(), message["speed"])
        except TimeoutError:
            pass
        now_s = time.monotonic()
        fresh = [speed for at_s, speed in heard.values() if now_s - at_s < SILENT_S]
        speed = min(fresh) if len(fresh) == 2 else 0.0
        if speed != shown:
            shown = speed
            print(f"{speed:.1f} m/s", flush=True)
