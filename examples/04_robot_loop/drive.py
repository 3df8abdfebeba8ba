"""The other end, for a look at it: prints how fast the robot may go whenever that changes. python drive.py [SECONDS]

The slower of the two counts; one that is silent for 300 ms, or says nonsense for so long, counts as a stop. A motor
controller does this in firmware.
"""

import json
import socket
import sys
import time

SILENT_S, FASTEST = 0.3, 1.0

end_s = time.monotonic() + float(sys.argv[1] if len(sys.argv) > 1 else "inf")
heard = dict.fromkeys(("see", "hear"), (-SILENT_S, 0.0, ""))  # when, speed, why not
shown = None
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as drive:
    drive.bind(("127.0.0.1", 9870))
    drive.settimeout(0.05)
    while time.monotonic() < end_s:
        try:
            message = json.loads(drive.recv(4096))
            name, speed, why = message["from"], float(message["speed"]), str(message["why"])
            if name in heard and 0 <= speed <= FASTEST:
                heard[name] = (time.monotonic(), speed, why)
        except (TimeoutError, ValueError, TypeError, KeyError, RecursionError):  # silence, or anybody's nonsense
            pass
        now_s = time.monotonic()
        allowed = [
            (speed, f"{name}: {why}" if why else "") if now_s - at_s < SILENT_S else (0.0, f"{name} is silent")
            for name, (at_s, speed, why) in heard.items()
        ]
        slowest = min(allowed)
        if slowest != shown:
            shown = slowest
            print(f"{slowest[0]:.1f} m/s {slowest[1]}".rstrip(), flush=True)
