"""Run by the Paddle Lite toolchain, on Python 3.10: computes one network for a parent process.

``lite_worker.py MODEL.nb``. Reads requests from its standard input until that ends, which it does
when the parent dies. A request is four little-endian int32, N C H W, and so many float32; an answer
five int32, rank and four sizes (unused ones 1), and the float32 of the result.

On x86 a predictor that has seen one picture and then gets a narrower one writes outside its memory,
so a predictor sees one size of picture only, and each picture of a batch is run by itself.
"""

import importlib
import os
import signal
import struct
import sys
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

REQUEST = struct.Struct("<4i")
ANSWER = struct.Struct("<5i")


class Network:
    """One Paddle Lite predictor, of the size of picture that was asked for last.

    A new one takes 30 to 50 ms, a kept one up to 1.3 GB (PP-OCRv5 mobile, a line of 2560 px).
    """

    def __init__(self, model: str) -> None:
        self._lite: Any = importlib.import_module("paddlelite.lite")
        self._config = self._lite.MobileConfig()
        self._config.set_model_from_file(model)
        self._predictor: Any = self._lite.create_paddle_predictor(self._config)
        self._shape: tuple[int, ...] | None = None

    def run(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """``[1, 3, H, W]`` to the result of that picture."""
        if self._shape not in (None, image.shape):
            self._predictor = None  # the old one's memory first
            self._predictor = self._lite.create_paddle_predictor(self._config)
        self._shape = image.shape
        self._predictor.get_input(0).from_numpy(image)
        self._predictor.run()
        return np.array(self._predictor.get_output(0).numpy(), dtype=np.float32)


def serve(network: Network, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more."""
    while len(header := requests.read(REQUEST.size)) == REQUEST.size:
        shape = REQUEST.unpack(header)
        content = requests.read(4 * shape[0] * shape[1] * shape[2] * shape[3])
        images = np.frombuffer(content, "<f4").reshape(shape)
        parts = [network.run(images[index : index + 1].copy()) for index in range(shape[0])]
        _send(answers, np.concatenate(parts))


def _send(answers: BinaryIO, result: NDArray[np.float32]) -> None:
    sizes = [*result.shape, 1, 1, 1][:4]
    answers.write(ANSWER.pack(result.ndim, *sizes))
    answers.write(np.ascontiguousarray(result, "<f4").data)
    answers.flush()


def main() -> None:
    """Serve the model named on the command line."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's; it then ends our input
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # Lite writes to the standard output
    network = Network(sys.argv[1])
    _send(answers, np.zeros(1, np.float32))  # ready
    serve(network, sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
