"""Copy the telephone call of two women that the package pyannote.audio ships: python call.py CALL.wav

Half a minute at 16 kHz; the package itself is not imported. With your own recording this step is not needed.
"""

import importlib.util
import shutil
import sys
from pathlib import Path

found = importlib.util.find_spec("pyannote") and importlib.util.find_spec("pyannote.audio")
if not found or not found.origin:
    raise SystemExit("expected pyannote.audio, found none; next: pip install --no-deps pyannote.audio==4.0.7")
shutil.copyfile(Path(found.origin).parent / "sample/sample.wav", sys.argv[1])
