"""Who may ask, how often, and from which web pages."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from ocr_pipeline.config.access import AccessConfig, RateConfig
from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.errors import ConfigError
from ocr_pipeline.serving.access import RateLimit
from tests.serving.guarded import CLIENT, call, guarded

KEY = "ocr_key-of-alice"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def service(**access: Any) -> FastAPI:
    return guarded(ServeConfig(access=AccessConfig(**access)))


@pytest.fixture
def keys_file(tmp_path: Path) -> str:
    path = tmp_path / "keys.txt"
    digests = {name: hashlib.sha256(key.encode()).hexdigest() for name, key in keys().items()}
    path.write_text("".join(f"{name}:{digest}\n" for name, digest in digests.items()))
    return str(path)


def keys() -> dict[str, str]:
    return {"alice": KEY, "bob": "ocr_key-of-bob"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer  {KEY}"},
        {"X-API-Key": KEY},
        {"X-API-Key": KEY, "Authorization": "Basic YTpi"},
    ],
)
def test_a_key_opens_in_both_headers(keys_file: str, headers: dict[str, str]) -> None:
    answer = call(service(keys_file=keys_file), "POST", "/v1/echo", headers=headers, content=b"abc")
    assert (answer.status_code, answer.json()) == (200, {"bytes": 3})


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", KEY)],
        [("Authorization", "Bearer ")],
        [("Authorization", f"Bearer {KEY}x")],
        [("Authorization", f"Basic {KEY}")],
        [("X-API-Key", f"Bearer {KEY}")],
        [("X-API-Key", KEY), ("X-API-Key", "other")],
        [("X-API-Key", KEY), ("Authorization", "Bearer other")],
        [("X-API-Key", "\xff".encode("latin-1"))],
    ],
)
def test_without_a_valid_key_the_answer_is_401_and_the_body_is_not_read(
    keys_file: str, headers: list[tuple[str, Any]]
) -> None:
    async def body() -> AsyncIterator[bytes]:
        raise AssertionError("it was read")
        yield b""

    app = service(keys_file=keys_file)
    for path in ("/v1/echo", "/metrics", "/v1/none", "/livez/", "/static"):
        answer = call(app, "POST", path, headers=headers, content=body())
        assert answer.status_code == 401, path
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="ocr"'
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["status"] == 401
        assert KEY not in answer.text


def test_probes_and_the_page_are_open_and_metrics_can_be(keys_file: str) -> None:
    app = service(keys_file=keys_file, open_paths=("/", "/static/*", "/metrics"))
    for path in ("/livez", "/", "/static/page.js", "/metrics"):
        assert call(app, "GET", path).status_code == 200
    closed = service(keys_file=keys_file, open_paths=())
    assert call(closed, "GET", "/livez").status_code == 200
    assert call(closed, "GET", "/").status_code == 401


def test_a_keys_file_that_cannot_be_used_stops_the_service_at_its_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="keys file"):
        service(keys_file=str(tmp_path / "none"))


def test_each_key_has_its_own_bucket_wherever_it_comes_from(keys_file: str) -> None:
    app = service(keys_file=keys_file, rate=RateConfig(per_minute=0.001, burst=2))

    def ask(name: str, client: str) -> int:
        headers = {"X-API-Key": keys()[name]}
        return call(app, "POST", "/v1/echo", headers=headers, client=client).status_code

    assert [ask("alice", f"203.0.113.{n}") for n in range(3)] == [200, 200, 429]
    assert ask("bob", "203.0.113.0") == 200


def test_above_the_rate_the_answer_is_429_and_says_when_to_come_back() -> None:
    app = service(rate=RateConfig(per_minute=0.5, burst=2))
    first, second, third = (call(app, "POST", "/v1/echo") for _ in range(3))
    assert [a.status_code for a in (first, second, third)] == [200, 200, 429]
    for answer in (first, second, third):
        assert answer.headers["RateLimit-Policy"] == '"requests";q=2;w=240'
    assert first.headers["RateLimit"] == '"requests";r=1;t=0'
    assert second.headers["RateLimit"].startswith('"requests";r=0;t=1')
    assert 115 <= int(third.headers["Retry-After"]) <= 120
    assert third.json()["title"] == "Too many requests"
    assert call(app, "GET", "/livez").status_code == 200
    assert "RateLimit" not in call(app, "GET", "/livez").headers


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ("203.0.113.7", "203.0.113.8", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("::ffff:203.0.113.7", "::ffff:203.0.113.8", False),
        ("::ffff:203.0.113.7", "203.0.113.7", True),
        ("", "no address", True),
    ],
)
def test_without_keys_an_address_has_a_bucket_and_ipv6_one_for_64_bits(
    first: str, second: str, shared: bool
) -> None:
    app = service(rate=RateConfig(per_minute=0.001, burst=1))
    assert call(app, "POST", "/v1/echo", client=first).status_code == 200
    assert (call(app, "POST", "/v1/echo", client=second).status_code == 429) is shared


def test_forwarded_addresses_are_believed_of_trusted_proxies_alone() -> None:
    rate = RateConfig(per_minute=0.001, burst=1)

    def statuses(app: FastAPI, *forwarded: str) -> list[int]:
        headers = [{"X-Forwarded-For": one} for one in forwarded]
        return [call(app, "POST", "/v1/echo", headers=h).status_code for h in headers]

    assert statuses(service(rate=rate), "198.51.100.1", "198.51.100.2") == [200, 429]
    behind = {"rate": rate, "trusted_proxies": (f"{CLIENT}/32",)}
    assert statuses(service(**behind), "198.51.100.1", "198.51.100.2") == [200, 200]
    # What the client itself wrote stands before what the proxy added.
    forged = ("192.0.2.1, 198.51.100.1", "192.0.2.2, 198.51.100.1")
    assert statuses(service(**behind), *forged) == [200, 429]


def test_tokens_come_back_at_the_rate_up_to_the_burst() -> None:
    clock = Clock()
    limit = RateLimit(RateConfig(per_minute=30, burst=2), clock)
    assert [limit.take("a").allowed for _ in range(3)] == [True, True, False]
    clock.now = 1.0
    assert limit.take("a").wait_s == pytest.approx(1.0)
    clock.now = 2.0
    assert limit.take("a").allowed
    clock.now = 1000.0
    assert [limit.take("a").allowed for _ in range(3)] == [True, True, False]


def test_the_table_of_buckets_has_an_end_and_forgets_what_was_unused_for_longest() -> None:
    limit = RateLimit(RateConfig(per_minute=1, burst=1), Clock(), most=3)
    for name in ("a", "b", "c"):
        assert limit.take(name).allowed
    assert not limit.take("a").allowed
    assert limit.take("d").allowed  # and b goes
    assert len(limit._buckets) == 3
    assert not limit.take("a").allowed
    assert limit.take("b").allowed


def preflight(app: FastAPI, origin: str) -> Any:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    return call(app, "OPTIONS", "/v1/echo", headers=headers)


def test_other_web_pages_are_let_in_by_name_only(keys_file: str) -> None:
    ours, theirs = "https://ours.example", "https://theirs.example"
    closed = service(keys_file=keys_file)
    assert preflight(closed, ours).status_code == 401
    headers = {"Origin": ours, "X-API-Key": KEY}
    answer = call(closed, "POST", "/v1/echo", headers=headers)
    assert not [name for name in answer.headers if name.startswith("access-control")]

    opened = service(keys_file=keys_file, cors_origins=(ours,))
    answer = preflight(opened, ours)  # a browser sends no key with it
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, ours)
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Origin" not in preflight(opened, theirs).headers
    refused = call(opened, "POST", "/v1/echo", headers={"Origin": ours})
    assert refused.status_code == 401
    assert refused.headers["Access-Control-Allow-Origin"] == ours  # so its page can say why
    assert "X-Request-ID" in refused.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in refused.headers


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("trusted_proxies", "*"),
        ("trusted_proxies", "proxy.example"),
        ("cors_origins", "ours.example"),
        ("cors_origins", "https://ours.example/"),
        ("cors_origins", "null"),
        ("open_paths", "metrics"),
        ("open_paths", "/*/ocr"),
    ],
)
def test_settings_that_mean_nothing_are_refused(field: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{field}(.|\n)*{value.replace('*', '.')}(.|\n)*give"):
        AccessConfig.model_validate({field: [value]})
