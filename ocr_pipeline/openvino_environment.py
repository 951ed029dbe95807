"""What is said to OpenVINO before its import."""

import sys
from types import ModuleType

_TELEMETRY = "openvino_telemetry"


def forbid_openvino_telemetry() -> None:
    """Keep OpenVINO and NNCF from sending usage figures over the network.

    Their package ``openvino_telemetry`` sends an event at each import of ``openvino``, unless a
    file in the user's home forbids it. Both do without where its parts cannot be imported, and an
    empty module in its place has none. To be called before the first import of either.
    """
    sys.modules.setdefault(_TELEMETRY, ModuleType(_TELEMETRY))
