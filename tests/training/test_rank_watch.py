"""Who is missing is named: processes stood in for by threads with connections of their own."""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ocr_pipeline.errors import DataError, TrainingError
from ocr_pipeline.training import rank_watch as module
from ocr_pipeline.training.rank_watch import RankWatch, interface_of, meet, own_name

Link = tuple[int, str, socket.socket]
TIMEOUT_S = 1.0
PATIENCE_S = 60.0
"""For what must come at all; machines may be busy."""


class Star:
    """Watches of several ranks, in this process; ``ended``: what ends a rank."""

    def __init__(self, world: int, timeout_s: float, ranks: tuple[int, ...]) -> None:
        self.ended: dict[int, str] = {}
        self.links: dict[int, list[Link]] = {rank: [] for rank in range(world)}
        for rank in range(1, world):
            here, there = socket.socketpair()
            self.links[0].append((rank, f"rank {rank} (made up)", here))
            self.links[rank].append((0, "rank 0 (made up)", there))
        self.watches = {
            rank: RankWatch(rank, self.links[rank], timeout_s=timeout_s, end=self._ender(rank))
            for rank in ranks
        }

    def _ender(self, rank: int) -> Callable[[str], None]:
        def end(verdict: str) -> None:
            self.ended[rank] = verdict

        return end

    def close(self) -> None:
        for watch in self.watches.values():
            watch.close()
        for _, _, link in (link for links in self.links.values() for link in links):
            link.close()


@pytest.fixture
def star() -> Iterator[Callable[..., Star]]:
    made: list[Star] = []

    def make(world: int = 3, timeout_s: float = PATIENCE_S, ranks: tuple[int, ...] = ()) -> Star:
        made.append(Star(world, timeout_s, ranks or tuple(range(world))))
        return made[-1]

    yield make
    for one in made:
        one.close()


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


def verdict(watch: RankWatch) -> str:
    with pytest.raises(TrainingError) as caught:
        watch.check(said="nothing came", wait_s=PATIENCE_S)
    return str(caught.value)


def test_one_that_dies_is_named_by_all_the_others(star: Callable[..., Star]) -> None:
    made = star(ranks=(0, 2))
    for watch in made.watches.values():
        watch.where = "step 7"
    made.links[1][0][2].close()  # as the system does for a process that was killed
    for watch in made.watches.values():
        text = verdict(watch)
        assert text.startswith("rank 1 (made up) is gone (last seen at step 7): it was killed")
        assert text.endswith("start the job again with --resume to go on from its last checkpoint")
    assert made.ended == {}


def test_rank_0_is_missed_by_all_the_others(star: Callable[..., Star]) -> None:
    made = star(ranks=(1, 2))
    for _, _, link in made.links[0]:
        link.close()
    for watch in made.watches.values():
        assert verdict(watch).startswith("rank 0 (made up) is gone")


def test_one_that_is_silent_is_named(star: Callable[..., Star]) -> None:
    made = star(timeout_s=TIMEOUT_S, ranks=(0, 2))
    started = time.monotonic()
    assert verdict(made.watches[2]).startswith("rank 1 (made up) has been silent for 1 s")
    assert time.monotonic() - started >= TIMEOUT_S - 0.1


def test_one_that_lives_and_lags_is_named(star: Callable[..., Star]) -> None:
    made = star(timeout_s=TIMEOUT_S)
    made.watches[0].arrive()
    made.watches[2].arrive()
    text = verdict(made.watches[2])
    assert text.startswith("rank 1 (made up) did not come to where the others wait")
    assert "raise distributed.timeout_s" in text


def test_all_may_take_longer_than_the_timeout_together(star: Callable[..., Star]) -> None:
    made = star(timeout_s=0.4)
    for _ in range(2):
        time.sleep(0.7)
        for watch in made.watches.values():
            watch.arrive()


def test_who_waits_inside_paddle_is_ended(
    star: Callable[..., Star], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_GRACE_S", 0.2)
    made = star(ranks=(0, 2))
    made.links[1][0][2].close()
    wait_for(lambda: len(made.ended) == 2)  # nobody asked in the seconds of grace
    assert all("rank 1 (made up) is gone" in text for text in made.ended.values())


def test_an_error_of_one_is_told_to_all_with_its_words(star: Callable[..., Star]) -> None:
    made = star()
    made.watches[1].where = "step 3"
    made.watches[1].close(DataError("a.png: not a picture"))
    for rank in (0, 2):
        text = verdict(made.watches[rank])
        assert text.startswith(f"{own_name(1)} ended at step 3: a.png: not a picture; start")


def test_an_error_of_another_kind_is_told_with_its_type(star: Callable[..., Star]) -> None:
    made = star(world=2)
    made.watches[0].close(ZeroDivisionError("division by zero"))
    assert "ZeroDivisionError: division by zero" in verdict(made.watches[1])


def test_who_leaves_in_peace_is_not_missed(star: Callable[..., Star]) -> None:
    made = star(timeout_s=0.4)
    made.watches[1].close()
    made.watches[0].close()
    time.sleep(1.0)
    made.watches[2].check()
    assert made.ended == {}


def test_a_failed_exchange_has_the_words_of_paddle_where_nobody_is_missing(
    star: Callable[..., Star],
) -> None:
    made = star(world=2)
    made.watches[0].where = "step 5"
    with pytest.raises(TrainingError, match=r"^step 5: an exchange .* failed: Unimplemented$"):
        made.watches[0].check(said="Unimplemented", wait_s=0.01)


def test_what_has_no_end_of_its_own_is_ended(
    star: Callable[..., Star], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_GRACE_S", 0.2)
    made = star(world=2)
    made.watches[1].where = "the start"
    with made.watches[1].within(0.1):
        wait_for(lambda: len(made.ended) == 2)
    assert "did not get done with the start" in made.ended[0]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_processes_meet_whoever_comes_first() -> None:
    address = ("127.0.0.1", free_port())

    def come(rank: int) -> list[Link]:
        time.sleep(0.1 * ((rank + 1) % 3))  # rank 2, then 0, then 1
        return meet(address, rank, 3, job="mine", timeout_s=PATIENCE_S)

    with ThreadPoolExecutor() as pool:
        found = list(pool.map(come, range(3)))
    assert sorted(rank for rank, _, _ in found[0]) == [1, 2]
    for rank in (1, 2):
        ((other, name, link),) = found[rank]
        assert (other, name) == (0, own_name(0))
        ((_, own, there),) = [one for one in found[0] if one[0] == rank]
        assert own == own_name(rank)
        link.sendall(b"after the introduction")
        assert there.recv(100) == b"after the introduction"
        link.close()
        there.close()


def test_who_does_not_come_is_named_to_all_who_came() -> None:
    address = ("127.0.0.1", free_port())
    said: list[str] = []

    def come(rank: int) -> None:
        with pytest.raises(TrainingError) as caught:
            meet(address, rank, 4, job="mine", timeout_s=TIMEOUT_S)
        said.append(str(caught.value))

    with ThreadPoolExecutor() as pool:
        list(pool.map(come, (0, 2)))
    assert len(set(said)) == 1
    assert said[0].startswith("rank 1, 3 of 4 processes did not come within 1 s")
    assert f"whether its machine reaches 127.0.0.1:{address[1]}" in said[0]


def test_rank_0_that_does_not_come_is_named() -> None:
    with pytest.raises(TrainingError, match=r"rank 1: rank 0 was not at .* within 0.5 s .*refused"):
        meet(("127.0.0.1", free_port()), 1, 2, job="mine", timeout_s=0.5)


def test_rank_0_says_that_its_address_is_not_to_be_had() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(
            TrainingError, match=r"cannot listen at .* \(Address already in use\); .*--host"
        ),
    ):
        meet(taken.getsockname(), 0, 2, job="mine", timeout_s=0.5)


@pytest.mark.parametrize(
    "words",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"[1, 2]\n",
        b"",
        json.dumps({"job": "another", "rank": 1, "name": "rank 1"}).encode() + b"\n",
        json.dumps({"job": "mine", "rank": 2, "name": "rank 2"}).encode() + b"\n",
        json.dumps({"job": "mine", "rank": "x", "name": "rank x"}).encode() + b"\n",
    ],
)
def test_strangers_are_sent_away(words: bytes) -> None:
    address = ("127.0.0.1", free_port())
    with ThreadPoolExecutor() as pool:
        first = pool.submit(meet, address, 0, 2, job="mine", timeout_s=PATIENCE_S)
        wait_for(lambda: connects(address))
        with socket.create_connection(address) as stranger:
            stranger.sendall(words)
            with contextlib.suppress(OSError):  # it may be sent away before it has done
                stranger.shutdown(socket.SHUT_WR)
                assert stranger.recv(100) == b""
        second = pool.submit(meet, address, 1, 2, job="mine", timeout_s=PATIENCE_S)
        ((rank, name, link),) = first.result()
        ((_, _, there),) = second.result()
    assert (rank, name) == (1, own_name(1))
    link.close()
    there.close()


def connects(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address).close()
    except OSError:
        return False
    return True


def test_what_follows_an_introduction_is_left_to_the_watch() -> None:
    address = ("127.0.0.1", free_port())
    with ThreadPoolExecutor() as pool:
        first = pool.submit(meet, address, 0, 2, job="mine", timeout_s=PATIENCE_S)
        wait_for(lambda: connects(address))
        with socket.create_connection(address) as link:
            hello = json.dumps({"job": "mine", "rank": 1, "name": "rank 1"}).encode()
            link.sendall(hello + b'\n{"fault": "it ')
            watch = RankWatch(0, first.result(), timeout_s=PATIENCE_S, end=lambda _: None)
            link.sendall(b'burns"}\n')
            assert verdict(watch).startswith("it burns; start the job again")
            watch.close()


def test_the_interface_of_an_address_is_found() -> None:
    assert interface_of("127.0.0.1") == "lo"
    assert interface_of("192.0.2.1") is None


def test_no_thread_is_left(star: Callable[..., Star]) -> None:
    made = star()
    made.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "rank watch"]


def test_a_name_says_where_to_look() -> None:
    assert own_name(3) == f"rank 3 (process {os.getpid()} on {socket.gethostname()})"
