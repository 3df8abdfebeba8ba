"""Write a clip that stands for a camera: python clip.py CLIP.mp4

A view of 640 x 480 that moves over three photographs of scikit-image, three seconds each: coffee, cat and camera man.
The photographs are real, the movement is not.
"""

import sys

import av
import numpy as np
import skimage.data
from PIL import Image

RATE, SECONDS, WIDTH, HEIGHT = 30, 3, 640, 480


def view(photo: np.ndarray, at: float) -> np.ndarray:
    """uint8 [480,640,3]: the photograph filling the view, moved from one end to the other as `at` goes from 0 to 1."""
    picture = Image.fromarray(photo).convert("RGB")
    scale = 1.1 * max(WIDTH / picture.width, HEIGHT / picture.height)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)
    left, top = (round(at * room) for room in (picture.width - WIDTH, picture.height - HEIGHT))
    return np.asarray(picture.crop((left, top, left + WIDTH, top + HEIGHT)))


photos = (skimage.data.coffee(), skimage.data.chelsea(), skimage.data.camera())
with av.open(sys.argv[1], "w") as file:
    stream = file.add_stream("libx264", rate=RATE)
    stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    count = RATE * SECONDS
    for photo in photos:
        for number in range(count):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(view(photo, number / count), format="rgb24")))
    file.mux(stream.encode())
