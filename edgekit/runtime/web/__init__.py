"""A page that shows a loop while it runs: the frame with its answer, how old answers are, and how the machine is.

    with Session.open(bundle) as session, LivePage(8080, View.of(session, policy)) as page:
        loop = StreamLoop(open_source("camera:0"), session, page.sink, policy)
        page.watch(loop)
        print(page.url)
        loop.run()

The page is served on 127.0.0.1 alone, to whoever is on this machine. To look at a robot from a desk, take the port
there by ssh, `ssh -L 8080:127.0.0.1:8080 robot`, and open http://127.0.0.1:8080/ at the desk.

The loop's thread keeps a reference to the last answer of each source, and that is all that it does for the page.
Frames are encoded in a thread of the server, and only while somebody looks.
"""

from edgekit.runtime.web.live_page import LivePage
from edgekit.runtime.web.view import View

__all__ = ["LivePage", "View"]
