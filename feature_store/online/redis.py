"""The online store in Redis.

::

    learnloop:features                     the names of the views
    learnloop:schemas                      the schemas by fingerprint
    learnloop:features:{view}              the state: the layer on top, a line's end, JSON
    learnloop:features:{view}:rows:{key}   a packed row
    learnloop:features:{view}:{layer}      rows, by key, that are being materialized
    learnloop:features:{view}:layers       layers that may yet come on top; when each last grew

A materialization writes its rows to a **layer** that nobody reads. One script puts the layer on
top, if the view's state is still what it was; from that moment every reader sees all of it. Then
its rows are moved below, some at a time, a newer row staying; readers take the newer of both
meanwhile. A kill at any point leaves a layer that nobody reads, which is removed later, or one on
top, which the next materialization moves to its end.

A reader asks for the state and the rows with one MGET: that is one round trip, one moment, and it
tells a store that lost its data from a learner without features. Scripts name keys that they find,
so the store is one Redis server with its replicas, not a Redis Cluster.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from feature_store.online.keys import has_part
from feature_store.online.packing import STAMP_BYTES, RowSchema
from feature_store.online.resp import ReadingConnection, RedisRefused
from feature_store.online.store import (
    Materialization,
    OnlineStoreUnavailable,
    Row,
    ViewState,
    conflict,
    not_materialized,
    unknown_schema,
)
from learnloop.errors import LearnLoopError, UsageError

CONNECT_SECONDS = 1.0
ANSWER_SECONDS = 2.0
VIEWS = b"learnloop:features"
SCHEMAS = b"learnloop:schemas"
ABANDONED_SECONDS = 600
"""A layer that has not grown for so long belongs to somebody who was killed."""

BATCH = 2000
"""The most rows that one script touches: about ten milliseconds in which Redis serves nobody."""

SCANNED = 10_000
REWRITE_SECONDS = 60.0
REWRITING = (
    "aof_rewrite_in_progress",
    "aof_rewrite_scheduled",
    "rdb_bgsave_in_progress",
)

NEWER = """
local function is_newer(new, old)
    if not old then return true end
    local a, b, c, d = struct.unpack('>I4I4I4I4', new)
    local e, f, g, h = struct.unpack('>I4I4I4I4', old)
    if a ~= e then return a > e end
    if b ~= f then return b > f end
    if c ~= g then return c > g end
    return d >= h
end
local function split(state)
    local line = string.find(state, '\\n', 1, true)
    return string.sub(state, 1, line - 1), string.sub(state, line + 1)
end
"""
PUSH = f"""{NEWER}
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
for at = 3, #KEYS do
    if is_newer(ARGV[at], redis.call('GET', KEYS[at])) then
        redis.call('SET', KEYS[at], ARGV[at])
    end
end
return 1
"""
STAGE = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], redis.call('TIME')[1])
redis.call('HSET', KEYS[2], unpack(ARGV, 2))
return 1
"""
# Asked a second time, after an answer that was lost, the script says again that it has switched.
SWITCH = f"""{NEWER}
local found = redis.call('GET', KEYS[1])
local top, state = '', ''
if found then top, state = split(found) end
if state == ARGV[2] then return 1 end
if top ~= '' or state ~= ARGV[1] then return 0 end
if redis.call('HDEL', KEYS[2], ARGV[3]) == 0 then return 0 end
redis.call('HSET', KEYS[3], ARGV[4], ARGV[5])
redis.call('SADD', KEYS[4], ARGV[6])
redis.call('SET', KEYS[1], ARGV[3] .. '\\n' .. ARGV[2])
return 1
"""
SETTLE = f"""{NEWER}
local found = redis.call('GET', KEYS[1])
if not found then return '0' end
local top, state = split(found)
if top == '' then return '0' end
local layer = KEYS[1] .. ':' .. top
local cursor, rows = unpack(redis.call('HSCAN', layer, ARGV[1], 'COUNT', ARGV[2]))
for at = 1, #rows, 2 do
    local below = KEYS[1] .. ':rows:' .. rows[at]
    if is_newer(rows[at + 1], redis.call('GET', below)) then
        redis.call('SET', below, rows[at + 1])
    end
end
if cursor == '0' then
    redis.call('SET', KEYS[1], '\\n' .. state)
    redis.call('UNLINK', layer)
end
return cursor
"""
RENEW = """
local found = redis.call('GET', KEYS[1])
if not found then return 0 end
local renamed = '"materialization": "' .. ARGV[1] .. '"'
redis.call('SET', KEYS[1], (string.gsub(found, '"materialization": "%x+"', renamed)))
return 1
"""
# Either this or the switch takes a layer off the list: what is on top is never removed.
REFUSE = """
if redis.call('HDEL', KEYS[1], ARGV[1]) == 1 then redis.call('UNLINK', KEYS[2]) end
"""


class RedisStore:
    """The online store in Redis.

    Args:
        url: ``redis://[user:password@]host[:port][/number]``, or ``rediss://`` for TLS.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = redis.Redis.from_url(
            url,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 1),
        )
        place = self._client.connection_pool.connection_kwargs
        self.name = (
            f"Redis at {place.get('host', '127.0.0.1')}:{place.get('port', 6379)}"
            f"/{place.get('db', 0)}"
        )
        self._push = self._client.register_script(PUSH)
        self._stage = self._client.register_script(STAGE)
        self._switch = self._client.register_script(SWITCH)
        self._settle = self._client.register_script(SETTLE)
        self._renew = self._client.register_script(RENEW)
        self._refuse = self._client.register_script(REFUSE)
        self._local = threading.local()

    def state(self, view: str) -> ViewState | None:
        """What the store knows of a view; None if it holds nothing of it."""
        with self._explained():
            found = self._client.get(_key(view))
        return ViewState.from_json(found.partition(b"\n")[2]) if found else None

    def views(self) -> list[str]:
        """The views that the store holds something of, sorted."""
        with self._explained():
            return sorted(name.decode() for name in self._client.smembers(VIEWS))

    def schema(self, fingerprint: bytes) -> RowSchema:
        """The schema that a row says it was packed with."""
        with self._explained():
            found = self._client.hget(SCHEMAS, fingerprint)
        if found is None:
            raise unknown_schema(fingerprint, self.name)
        return RowSchema.from_json(found)

    def read(self, wanted: Sequence[tuple[str, Sequence[bytes]]]) -> list[list[bytes | None]]:
        """Read rows, all of them as they are at one moment."""
        names = [_key(view) for view, _ in wanted]
        keys = list(names)
        for name, (_, wanted_keys) in zip(names, wanted, strict=True):
            below = name + b":rows:"
            keys += [below + key for key in wanted_keys]
        found = self._values(keys)
        states = found[: len(names)]
        tops = [self._top(view, state) for (view, _), state in zip(wanted, states, strict=True)]
        if any(tops):
            return self._read_layers(wanted, names, keys, tops)
        rows = iter(found[len(names) :])
        return [list(islice(rows, len(wanted_keys))) for _, wanted_keys in wanted]

    def materialize(self, change: Materialization, batches: Iterable[Sequence[Row]]) -> int:
        """Add rows to a view and change its state, all at one moment."""
        name = _key(change.view)
        layer = uuid.uuid4().hex.encode()
        before = change.before.to_json() if change.before else ""
        after = [change.after.to_json(), layer]
        schema = [change.schema.fingerprint, change.schema.to_json()]
        with self._explained():
            self._check_keeps_everything()
            self._settle_all(name)
            self._remove_abandoned(name)
            self._client.hset(name + b":layers", layer, self._client.time()[0])
            try:
                given = self._fill(change.view, layer, batches)
                keys = [name, name + b":layers", SCHEMAS, VIEWS]
                if not self._switch(keys, [before, *after, *schema, change.view]):
                    raise conflict(change.view, self.name)
            except BaseException:
                with contextlib.suppress(redis.RedisError):
                    self._refuse([name + b":layers", name + b":" + layer], [layer])
                raise
            self._settle_all(name)
        return given

    def push(self, view: str, schema: RowSchema, rows: Sequence[Row]) -> None:
        """Add rows to a view, each at once."""
        name = _key(view)
        fields = (schema.fingerprint, schema.to_json())
        with self._explained():
            for begin in range(0, max(len(rows), 1), BATCH):
                some = rows[begin : begin + BATCH]
                keys = [b"%b:rows:%b" % (name, key) for key, _ in some]
                if not self._push([name, SCHEMAS, *keys], [*fields, *(row for _, row in some)]):
                    raise not_materialized(view, self.name)

    def erase(self, view: str, parts: Collection[bytes]) -> int:
        """Remove rows so that no byte of them stays, and refuse materializations under way."""
        name = _key(view)
        wanted = frozenset(parts)
        erased = 0
        with self._explained():
            if not self._renew([name], [uuid.uuid4().hex]):
                return 0
            # A row that moves from a layer while the keys are scanned could be missed.
            self._settle_all(name)
            prefix = name + b":rows:"
            for stored in self._client.scan_iter(prefix + b"*", count=SCANNED):
                if has_part(stored[len(prefix) :], wanted):
                    erased += self._client.delete(stored)
            for layer in self._client.hkeys(name + b":layers"):
                for key, _ in self._client.hscan_iter(name + b":" + layer, count=SCANNED):
                    if has_part(key, wanted):
                        self._client.hdel(name + b":" + layer, key)
            self._rewrite_files()
        return erased

    def drop(self, view: str) -> None:
        """Remove all that the store holds of a view; its state goes first."""
        name = _key(view)
        with self._explained():
            self._client.delete(name)
            for stored in self._client.scan_iter(name + b":*", count=SCANNED):
                self._client.unlink(stored)
            self._client.srem(VIEWS, view)

    def close(self) -> None:
        """Let go of connections; those of other threads end with them."""
        self._disconnect()
        self._client.close()

    def _fill(self, view: str, layer: bytes, batches: Iterable[Sequence[Row]]) -> int:
        """Write rows to a layer."""
        name = _key(view)
        given = 0
        for batch in batches:
            for begin in range(0, len(batch), BATCH):
                some = batch[begin : begin + BATCH]
                words = [word for row in some for word in row]
                if not self._stage([name + b":layers", name + b":" + layer], [layer, *words]):
                    raise conflict(view, self.name)
            given += len(batch)
        return given

    def _settle_all(self, name: bytes) -> None:
        """Move the rows of a layer on top below; afterwards there is none on top."""
        cursor = b"0"
        while (cursor := self._settle([name], [cursor, BATCH])) != b"0":
            pass

    def _remove_abandoned(self, name: bytes) -> None:
        """Remove the layers of those who were killed."""
        now = self._client.time()[0]
        for layer, grew in self._client.hgetall(name + b":layers").items():
            if now - int(grew) > ABANDONED_SECONDS:
                self._refuse([name + b":layers", name + b":" + layer], [layer])

    def _check_keeps_everything(self) -> None:
        policy = self._client.info("memory").get("maxmemory_policy", "noeviction")
        if policy.startswith("allkeys"):
            raise UsageError(
                "This Redis throws rows away when its memory is full.",
                where=self.name,
                expected="maxmemory-policy noeviction, or one of the volatile- kind",
                received=f"maxmemory-policy {policy}",
            )

    def _rewrite_files(self) -> None:
        """Have Redis write its files again, without the rows that were removed.

        A provider that hides these commands (ElastiCache does) keeps files of its own, as backups.
        """
        files = self._client.info("persistence")
        if files["aof_enabled"]:
            _unless_hidden(self._client.bgrewriteaof)
        if self._has_snapshots():
            _unless_hidden(lambda: self._client.bgsave(schedule=True))
        deadline = time.monotonic() + REWRITE_SECONDS
        while any(self._client.info("persistence")[work] for work in REWRITING):
            if time.monotonic() > deadline:
                raise LearnLoopError(
                    "The rows are erased, but Redis is still writing its files without them.",
                    where=self.name,
                    expected=f"done within {REWRITE_SECONDS} seconds",
                    next="redis-cli INFO persistence, and erase again if it has failed",
                )
            time.sleep(0.05)

    def _has_snapshots(self) -> bool:
        """Whether Redis writes snapshots; taken for granted where it does not tell."""
        with contextlib.suppress(redis.ResponseError):
            return bool(self._client.config_get("save").get("save"))
        return True

    def _values(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Read values by this thread's connection, or a new one if that has ended."""
        local = self._local
        if getattr(local, "process", None) == os.getpid():
            with contextlib.suppress(ConnectionError):
                return self._asked(local.connection, keys)
        self._disconnect()
        try:
            local.connection = ReadingConnection(self.url, CONNECT_SECONDS, ANSWER_SECONDS)
        except (OSError, RedisRefused) as fault:
            raise self._unavailable(fault) from fault
        local.process = os.getpid()
        try:
            return self._asked(local.connection, keys)
        except ConnectionError as fault:
            raise self._unavailable(fault) from fault

    def _asked(self, connection: ReadingConnection, keys: Sequence[bytes]) -> list[bytes | None]:
        """Ask once; a connection whose answer was not read to its end is never used again."""
        try:
            return connection.values(keys)
        except ConnectionError:
            self._disconnect()
            raise
        except (OSError, RedisRefused) as fault:
            self._disconnect()
            raise self._unavailable(fault) from fault
        except BaseException:
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        connection = getattr(self._local, "connection", None)
        self._local.__dict__.clear()
        if connection is not None:
            connection.close()

    def _top(self, view: str, state: bytes | None) -> bytes:
        """The layer on top, which is empty but for moments."""
        if state is None:
            raise not_materialized(view, self.name)
        return state.partition(b"\n")[0]

    def _read_layers(
        self,
        wanted: Sequence[tuple[str, Sequence[bytes]]],
        names: Sequence[bytes],
        keys: Sequence[bytes],
        tops: Sequence[bytes],
    ) -> list[list[bytes | None]]:
        """Read rows while there are layers on top: what is on top and what is below at once."""
        with self._explained(), self._client.pipeline(transaction=True) as transaction:
            transaction.mget(keys)
            for name, top, (_, wanted_keys) in zip(names, tops, wanted, strict=True):
                transaction.hmget(name + b":" + top, [*wanted_keys, b""])
            below, *above = transaction.execute()
        states, rows = below[: len(names)], iter(below[len(names) :])
        if any(
            self._top(view, state) != top
            for (view, _), state, top in zip(wanted, states, tops, strict=True)
        ):
            return self.read(wanted)
        return [[_newer(next(rows), on_top) for on_top in layer[:-1]] for layer in above]

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as fault:
            raise self._unavailable(fault) from fault

    def _unavailable(self, fault: Exception) -> OnlineStoreUnavailable:
        received = fault.received if isinstance(fault, RedisRefused) else fault
        return OnlineStoreUnavailable(
            "The online store does not answer.",
            where=self.name,
            received=f"{type(fault).__name__}: {received}",
        )


def _key(view: str) -> bytes:
    return b"%b:%b" % (VIEWS, view.encode())


def _newer(below: bytes | None, above: bytes | None) -> bytes | None:
    if below is None or above is None:
        return above or below
    return below if below[:STAMP_BYTES] > above[:STAMP_BYTES] else above


def _unless_hidden(command: Callable[[], object]) -> None:
    try:
        command()
    except redis.ResponseError as fault:
        if not str(fault).startswith("unknown command"):
            raise
