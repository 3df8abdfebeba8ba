"""Write a clip that stands for the camera under a robot: python ground.py CLIP.mp4

It goes over brick, grass and gravel, four seconds each: photographs of scikit-image (grey, CC0), 44 x 32 pixels of them
at a time, which is as large as the network of 07 knows the ground. The photographs are real, the ride is not.
"""

import sys

import av
import numpy as np
import skimage.data
from PIL import Image

RATE, SECONDS, WIDTH, HEIGHT = 30, 4, 44, 32

with av.open(sys.argv[1], "w") as file:
    stream = file.add_stream("libx264", rate=RATE)
    stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    for name in ("brick", "grass", "gravel"):
        photo = Image.fromarray(getattr(skimage.data, name)())
        for number in range(RATE * SECONDS):
            left, top = (round(number * room / (RATE * SECONDS)) for room in (photo.width - WIDTH, 150))
            view = photo.crop((left, 320 + top, left + WIDTH, 320 + top + HEIGHT))  # the part that 07 held out
            picture = np.asarray(view.convert("RGB"))
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
    file.mux(stream.encode())
