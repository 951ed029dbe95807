"""OpenVINO in this process: what is said to it before its import, and its one core."""

import sys
import threading
from types import ModuleType
from typing import Any

_TELEMETRY = "openvino_telemetry"
_core: Any = None
_core_lock = threading.Lock()


def forbid_openvino_telemetry() -> None:
    """Keep OpenVINO and NNCF from sending usage figures over the network.

    Their package ``openvino_telemetry`` sends an event at each import of ``openvino``, unless a
    file in the user's home forbids it. Both do without where its parts cannot be imported, and an
    empty module in its place has none. To be called before the first import of either.
    """
    sys.modules.setdefault(_TELEMETRY, ModuleType(_TELEMETRY))


def openvino_core() -> Any:
    """Return the ``openvino.Core`` of this process; it is kept until the process ends.

    Each core whose CPU plugin is loaded gives the thread an alternate signal stack of its own. Of
    two that are freed in the order in which they were made, the second hands back the stack of the
    first, which is unmapped by then: the next signal with a handler, a SIGTERM of a service, ends
    the process with a segmentation fault (OpenVINO 2026.4.1).

    Raises:
        ImportError: OpenVINO is not installed.
    """
    global _core
    forbid_openvino_telemetry()
    import openvino

    with _core_lock:
        if _core is None:
            _core = openvino.Core()  # noqa: TID251  (this one)
    return _core
