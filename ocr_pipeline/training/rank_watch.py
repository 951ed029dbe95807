"""Finds out which process of a training is missing, while the others wait for it.

What Paddle's collectives do without a peer differs: they wait for ever, or fail with the words of a
socket. So the processes keep connections of their own, in a star around rank 0: the system closes
those of a process that dies, and one that hangs or that the network lost falls silent. Each
heartbeat tells how many exchanges its process has come to: who lags is named, although it lives.
"""

import contextlib
import fcntl
import json
import os
import selectors
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ocr_pipeline.errors import OcrPipelineError, TrainingError

_BEAT_S = 1.0
_GRACE_S = 2.0
"""For the main thread to end by an error of its own; one that waits inside Paddle cannot."""
_VERDICT_S = 1.5
"""After an exchange has failed, the name of the process that is gone comes within this time."""
_RETRY_S = 0.2
_LONGEST_LINE = 1 << 16
_SIOCGIFADDR = 0x8915
_NEXT_STEP = "start the job again with --resume to go on from its last checkpoint"


@dataclass
class _Peer:
    """The process at the other end of a connection.

    Attributes:
        heard: when it was last heard of, s.
        at: exchanges it has come to.
        left: it has said that it ends.
    """

    rank: int
    name: str
    link: socket.socket
    heard: float = field(default_factory=time.monotonic)
    at: int = 0
    left: bool = False
    unread: bytes = b""


def meet(
    address: tuple[str, int], rank: int, world: int, *, job: str, timeout_s: float
) -> list[tuple[int, str, socket.socket]]:
    """Wait until all processes are there, and connect each with rank 0.

    Paddle's own way of meeting waits for ever for one that does not come.

    Args:
        address: host and port of rank 0.
        rank, world: of this process.
        job: what all processes of this job know alike; whoever says anything else is a stranger.
        timeout_s: how long to wait.

    Returns:
        ``(rank, name, connection)``: of all others for rank 0, of rank 0 for all others.

    Raises:
        TrainingError: some did not come in time (named), or rank 0 cannot be reached.
    """
    deadline = time.monotonic() + timeout_s
    if rank == 0:
        return _call_roll(address, world, job, deadline, timeout_s)
    link = _reach(address, rank, deadline, timeout_s)
    link.sendall(_line({"job": job, "rank": rank, "name": own_name(rank)}))
    # Rank 0 waits for the others for timeout_s at most.
    said = _heard(link, time.monotonic() + timeout_s + _GRACE_S)
    if "name" not in said:
        link.close()
        fault = said.get("fault", f"rank {rank}: rank 0 at {_written(address)} did not answer")
        raise TrainingError(str(fault))
    return [(0, str(said["name"]), link)]


def _call_roll(
    address: tuple[str, int], world: int, job: str, deadline: float, timeout_s: float
) -> list[tuple[int, str, socket.socket]]:
    known: dict[int, tuple[int, str, socket.socket]] = {}
    try:
        server = socket.create_server(address, backlog=128)
    except OSError as error:
        why = str(error.strerror).partition(" (")[0]  # Python adds the address
        raise TrainingError(
            f"rank 0: cannot listen at {_written(address)} ({why}); start the job again for "
            "another port, or say --host with the address of this machine"
        ) from None
    with server:
        while len(known) < world - 1:
            server.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                link, _ = server.accept()
            except TimeoutError:
                missing = [str(one) for one in range(1, world) if one not in known]
                text = (
                    f"rank {', '.join(missing)} of {world} processes did not come within "
                    f"{timeout_s:g} s; look at the log of that process, and whether its machine "
                    f"reaches {_written(address)}"
                )
                for _, _, link in known.values():
                    _tell(link, {"fault": text})
                    link.close()
                raise TrainingError(text) from None
            introduced = _introduction(link, job, min(deadline, time.monotonic() + _GRACE_S))
            if introduced is None or not 0 < introduced[0] < world:
                link.close()
            else:
                known[introduced[0]] = (*introduced, link)
    for _, _, link in known.values():
        _tell(link, {"name": own_name(0)})
    return list(known.values())


def _reach(address: tuple[str, int], rank: int, deadline: float, timeout_s: float) -> socket.socket:
    """Connect to rank 0, which may not be listening yet."""
    while True:
        left = deadline - time.monotonic()
        try:
            return socket.create_connection(address, max(0.01, left))
        except OSError as error:
            if left <= _RETRY_S:
                raise TrainingError(
                    f"rank {rank}: rank 0 was not at {_written(address)} within {timeout_s:g} s "
                    f"({error}); look at its log, and at the firewall between the machines"
                ) from None
        time.sleep(_RETRY_S)


def own_name(rank: int) -> str:
    """This process, for a person."""
    return f"rank {rank} (process {os.getpid()} on {socket.gethostname()})"


def interface_of(address: str) -> str | None:
    """Name of the network interface that has an IPv4 address; None where it is not found."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode())
            try:
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
            except OSError:
                continue  # it has no address
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return None


class RankWatch:
    """A thread that watches over the other processes: rank 0 over all, they over rank 0.

    When one is missing, all of them learn its name: :meth:`check` raises, and where the main thread
    waits inside Paddle for longer than two seconds, the process is ended with the same words.

    Args:
        rank: of this process.
        others: ``(rank, name, connection)``.
        timeout_s: how long a process may be silent, or behind the others.
        end: is called with the verdict if the main thread does not take it; ends the process.
    """

    def __init__(
        self,
        rank: int,
        others: Sequence[tuple[int, str, socket.socket]],
        *,
        timeout_s: float,
        end: Callable[[str], None] | None = None,
    ) -> None:
        self.where = "the start"
        self._rank = rank
        self._peers = [_Peer(*other) for other in others]
        self._timeout_s = timeout_s
        self._pause = min(_BEAT_S, timeout_s / 4)
        self._end = _end_process if end is None else end
        self._at = 0
        self._most = (0, time.monotonic())  # exchanges of whoever is ahead, and since when
        self._verdict: str | None = None
        self._limit: float | None = None
        self._taken = threading.Event()
        self._done = threading.Event()
        self._told = threading.Event()
        self._sending = threading.Lock()
        for peer in self._peers:
            peer.link.settimeout(self._pause)
        self._thread = threading.Thread(target=self._watch, name="rank watch", daemon=True)
        self._thread.start()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """The block must end in time: for what waits inside Paddle without an end of its own."""
        self._limit = time.monotonic() + seconds
        yield
        self._limit = None

    def arrive(self) -> None:
        """This process has come to an exchange.

        Raises:
            TrainingError: a process is missing (named).
        """
        self._at += 1
        self.check()

    def check(self, *, said: str = "", wait_s: float = _VERDICT_S) -> None:
        """Raise if a process is missing.

        Args:
            said: what Paddle said of an exchange that failed; raised where there is no verdict.
            wait_s: how long to wait for one.

        Raises:
            TrainingError: a process is missing (named), or ``said``.
        """
        if said:
            self._told.wait(wait_s)
        if self._verdict is not None:
            self._taken.set()
            raise TrainingError(self._verdict)
        if said:
            raise TrainingError(f"{self.where}: an exchange between processes failed: {said}")

    def close(self, error: BaseException | None = None) -> None:
        """Part from the others; with an error that they do not know of, they end as well."""
        if self._verdict is None and error is not None:
            kind = "" if isinstance(error, OcrPipelineError) else f"{type(error).__name__}: "
            text = f"{own_name(self._rank)} ended at {self.where}: {kind}{error}"
            self._send({"fault": text})
        self._send({"left": True})
        self._taken.set()
        self._done.set()
        self._thread.join(2 * self._pause)
        for peer in self._peers:
            peer.link.close()

    def _watch(self) -> None:
        last = beaten = time.monotonic()
        with selectors.DefaultSelector() as selector:
            for peer in self._peers:
                selector.register(peer.link, selectors.EVENT_READ, peer)
            while not self._done.is_set() and self._verdict is None:
                for key, _ in selector.select(self._pause):
                    if not self._receive(key.data):
                        selector.unregister(key.data.link)
                now, before = time.monotonic(), last
                last = now
                if now - before > 3 * self._pause:
                    self._restart_clocks(now)  # this process stood still: the rest did nothing
                if now - beaten >= self._pause:
                    beaten = now
                    self._send({"at": self._at})
                self._judge(now)
        if self._verdict is not None:
            self._send({"fault": self._verdict})
            self._told.set()
            if not self._taken.wait(_GRACE_S):
                self._end(self._verdict)

    def _receive(self, peer: _Peer) -> bool:
        """Take what a peer sent; False where its connection has ended."""
        try:
            part = peer.link.recv(_LONGEST_LINE)
        except TimeoutError:
            return True
        except OSError:
            part = b""
        if not part:
            if not (peer.left or self._done.is_set()):
                self._find(
                    f"{peer.name} is gone (last seen at {self.where}): it was killed or crashed, "
                    "see its log and the system's"
                )
            return False
        peer.heard = time.monotonic()
        *lines, peer.unread = (peer.unread + part).split(b"\n")
        for line in lines:
            said = json.loads(line)
            peer.at = said.get("at", peer.at)
            peer.left = said.get("left", peer.left)
            if "fault" in said:
                self._find(said["fault"])
        return True

    def _restart_clocks(self, now: float) -> None:
        # The limit of a block stays: Paddle may hold all threads meanwhile.
        for peer in self._peers:
            peer.heard = now
        self._most = (self._most[0], now)

    def _judge(self, now: float) -> None:
        for peer in self._peers:
            if not peer.left and now - peer.heard > self._timeout_s:
                self._find(
                    f"{peer.name} has been silent for {self._timeout_s:g} s (at {self.where}): it "
                    "hangs, or the network to its machine is cut"
                )
        if self._limit is not None and now > self._limit:
            self._find(
                f"{own_name(self._rank)} did not get done with {self.where} within "
                f"{self._timeout_s:g} s; look at the logs of all processes, and at the firewall "
                "between the machines"
            )
        if self._rank != 0:
            return
        most = max(self._at, *(peer.at for peer in self._peers))
        if most > self._most[0]:
            self._most = (most, now)
        if now - self._most[1] > self._timeout_s:
            late = [peer.name for peer in self._peers if peer.at < most]
            late += [own_name(0)] if self._at < most else []
            if late:
                self._find(
                    f"{', '.join(late)} did not come to where the others wait (at {self.where}) "
                    f"within {self._timeout_s:g} s: it hangs or is much slower; see its log, or "
                    "raise distributed.timeout_s"
                )

    def _find(self, what: str) -> None:
        if self._verdict is None:
            self._verdict = what if what.endswith(_NEXT_STEP) else f"{what}; {_NEXT_STEP}"

    def _send(self, message: dict[str, object]) -> None:
        for peer in self._peers:
            with self._sending:
                _tell(peer.link, message)


def _introduction(link: socket.socket, job: str, deadline: float) -> tuple[int, str] | None:
    """Rank and name of whoever has connected; None for a stranger."""
    said = _heard(link, deadline)
    try:
        if said["job"] == job:
            return int(said["rank"]), str(said["name"])
    except (ValueError, KeyError, TypeError):
        pass
    return None


def _heard(link: socket.socket, deadline: float) -> dict[str, Any]:
    """The next line of a connection; empty where none comes, or something else.

    Not a byte is taken of what follows it: that is for the watch.
    """
    line = b""
    try:
        while not line.endswith(b"\n") and len(line) < _LONGEST_LINE:
            link.settimeout(max(0.01, deadline - time.monotonic()))
            byte = link.recv(1)
            if not byte:
                return {}
            line += byte
        said = json.loads(line)
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _tell(link: socket.socket, message: dict[str, object]) -> None:
    """One that is gone or hangs is found out where it is listened to."""
    with contextlib.suppress(OSError):
        link.sendall(_line(message))


def _written(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"


def _line(message: dict[str, object]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _end_process(verdict: str) -> None:
    """The main thread waits inside Paddle and can be told nothing."""
    sys.stderr.write(f"error: {verdict}\n")
    sys.stderr.flush()
    os._exit(TrainingError.exit_code)
