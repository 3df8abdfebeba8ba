"""A ROS 2 node: images in, labels and diagnostics out.

python main.py --ros-args -p bundle:=BUNDLE -r image:=/camera/image_raw
"""

import sys

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from node_logic import Answerer, ImageTopic, as_text, picture, unpacked
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from edgekit.errors import EdgekitError, SessionError, UsageError

try:
    from vision_msgs.msg import Classification, ObjectHypothesis
except ImportError:  # a package that is not part of every ROS
    Classification = None

# As qos_profile_sensor_data, but one deep: of images that wait, only the newest is worth an answer.
NEWEST = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)

# As image_transport names them: the message, its topic, and what makes a picture of it.
TRANSPORTS = {
    "raw": (Image, "image", picture),
    "compressed": (CompressedImage, "image/compressed", unpacked),
}


class LabelNode(Node):
    """Subscribes to `image` or `image/compressed`; publishes `label`, /diagnostics, and where vision_msgs is there
    `classification`."""

    def __init__(self) -> None:
        super().__init__("edgekit")
        bundle = self.declare_parameter("bundle", "").value
        if not bundle:
            raise UsageError("expected the parameter bundle, found none", "--ros-args -p bundle:=BUNDLE")
        transport = self.declare_parameter("image_transport", "raw").value
        if transport not in TRANSPORTS:
            raise UsageError(f"expected image_transport raw or compressed, found {transport!r}")
        self.labels = self.create_publisher(String, "label", 10)
        self.classes = Classification and self.create_publisher(Classification, "classification", 10)
        self.diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 1)
        kind, name, read = TRANSPORTS[transport]
        self.topic = ImageTopic(name, read)
        backend = self.declare_parameter("backend", "auto").value
        self.answerer = Answerer(bundle, self.topic, self.publish, self.tell, backend)
        self.create_subscription(kind, name, self.on_image, NEWEST)
        self.create_timer(1.0, self.diagnose)
        self.answerer.start()  # last: where anything else fails, no thread is left behind

    def on_image(self, message) -> None:
        self.topic.feed(message, self.get_clock().now().nanoseconds)

    def publish(self, done) -> None:
        """Called in the answers' thread; after Ctrl-C there is no one to publish to."""
        if not rclpy.ok():
            return
        self.labels.publish(String(data=as_text(done)))
        if self.classes and not done.held:
            results = [ObjectHypothesis(class_id=label.name, score=label.probability) for label in done.answer]
            self.classes.publish(Classification(header=done.frame.header, results=results))

    def tell(self, event) -> None:
        self.get_logger().warning(f"{event.kind}: {event.message}")

    def diagnose(self) -> None:
        health = self.answerer.health()
        status = DiagnosticStatus(level=getattr(DiagnosticStatus, health.level), message=health.message)
        status.name = f"{self.get_name()}: answers"
        status.values = [KeyValue(key=key, value=value) for key, value in health.values.items()]
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self.diagnostics.publish(array)
        if self.answerer.ended:  # what a callback raises comes out of spin
            raise SessionError(f"expected answers, found the loop {health.message}")


def main() -> int:
    rclpy.init(args=sys.argv)
    node = None
    try:
        node = LabelNode()
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except EdgekitError as error:
        print(f"edgekit: error: {error}", file=sys.stderr)
        return error.exit_code
    finally:
        if node is not None:  # the loop first, since it publishes through the node
            report = node.answerer.stop()
            print(f"{report.captured} captured, {report.processed} processed, {report.dropped} dropped: {report.ended}")
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
