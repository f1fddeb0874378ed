"""kazoo's part of the load: sessions that write registers, counters, pairs, sequential nodes and ephemerals.

Arguments: hosts, session timeout in s, first name, how many clients, history file, pause between operations in s.
A line of history is what tests/mixed/history.rs reads. "quiet" on standard input ends the operations, not the sessions;
"end" closes those. Both are answered by the same word.
"""
import random
import sys
import threading
import time

from kazoo import exceptions as ke
from kazoo.client import KazooClient, KazooState
from kazoo.retry import KazooRetry

HOSTS, TIMEOUT, NAME, COUNT, FILE, PAUSE = sys.argv[1:7]
quiet = threading.Event()
end = threading.Event()
out = open(FILE, "w")
lock = threading.Lock()


def now():
    return time.time_ns() // 1000


class Client(threading.Thread):
    def __init__(self, name):
        super().__init__(daemon=True)
        self.name = name
        self.random = random.Random(name)
        self.count = 0
        self.session = 0
        self.sequentials = []
        self.ephemerals = []
        self.lost = threading.Event()
        self.zk = KazooClient(
            HOSTS,
            timeout=float(TIMEOUT),
            randomize_hosts=True,
            connection_retry=KazooRetry(max_tries=-1, delay=0.02, backoff=1.5, max_delay=0.3),
        )
        self.zk.add_listener(self.listen)

    def listen(self, state):
        # Called by kazoo's own thread; the session that is gone is the one noted last.
        if state == KazooState.LOST:
            self.lost.set()

    def write(self, op, path="", value="", expected=-1, begun=0, outcome="unknown", zxid=0, header=0, version=-1):
        words = [self.name, self.session, op, path or "-", value or "-", expected, begun or now(), now(), outcome, zxid, header, version]
        with lock:
            out.write(" ".join(map(str, words)) + "\n")

    def note(self, op, path, call, value="", expected=-1, told=None):
        """Makes the call and writes what came of it; gives its result, or None."""
        begun = now()
        try:
            result = call()
        except (ke.ConnectionLoss, ke.SessionExpiredError, ke.ConnectionClosedError, ke.OperationTimeoutError):
            self.write(op, path, value, expected, begun)
            return None
        except ke.KazooException as error:
            self.write(op, path, value, expected, begun, getattr(error, "code", -999))
            return None
        if self.lost.is_set():
            # kazoo opened another session meanwhile: this was done in that one.
            self.watch_session()
        path, value, zxid, version = told(result) if told else (path, value, 0, -1)
        self.write(op, path, value, expected, begun, "ok", zxid, 0, version)
        return result

    def value(self):
        self.count += 1
        return "%s.%d" % (self.name, self.count)

    def set(self, path, value, expected):
        told = lambda stat: (path, value, stat.mzxid, stat.version)
        return self.note("set", path, lambda: self.zk.set(path, value.encode(), expected), value, expected, told)

    def get(self, path, synced):
        def call():
            if synced:
                self.zk.sync(path)
            return self.zk.get(path)

        told = lambda got: (path, got[0].decode(), got[1].mzxid, got[1].version)
        return self.note("syncget" if synced else "get", path, call, told=told)

    def create(self, op, path, value, **kind):
        call = lambda: self.zk.create(path, value.encode(), include_data=True, **kind)
        told = lambda made: (made[0], value, made[1].czxid, 0)
        return self.note(op, path, call, value, told=told)

    def delete(self, path):
        # Retrying is the caller's: kazoo's delete is one request.
        self.note("delete", path, lambda: self.zk.delete(path))

    def pair(self, base, value):
        def call():
            transaction = self.zk.transaction()
            transaction.set_data(base + "/left", value.encode())
            transaction.set_data(base + "/right", value.encode())
            results = transaction.commit()
            for result in results:
                if isinstance(result, Exception):
                    raise result
            assert results[0].version == results[1].version, results
            return results[0]

        self.note("pair", base, call, value, told=lambda stat: (base, value, stat.mzxid, stat.version))

    def one(self):
        kind = self.random.random()
        key = self.random.randrange(4)
        if kind < 0.3:
            self.set("/load/reg/%d" % key, self.value(), -1)
        elif kind < 0.5:
            got = self.get("/load/counter/%d" % (key % 2), False)
            if got:
                version = got[1].version
                self.set("/load/counter/%d" % (key % 2), "%d.%s" % (version + 1, self.value()), version)
        elif kind < 0.6:
            self.get("/load/reg/%d" % key, False)
        elif kind < 0.7:
            self.get("/load/reg/%d" % key, True)
        elif kind < 0.8:
            self.pair("/load/pair/%d" % (key % 2), self.value())
        elif kind < 0.93:
            made = self.create("sequential", "/load/seq/s-", self.value(), sequence=True)
            if made:
                self.sequentials.append(made[0])
            if len(self.sequentials) > 20:
                self.delete(self.sequentials.pop(0))
        elif len(self.ephemerals) < 4:
            path = "/load/eph/" + self.value()
            if self.create("ephemeral", path, "e", ephemeral=True):
                self.ephemerals.append(path)
        else:
            self.delete(self.ephemerals.pop(0))

    def watch_session(self):
        """Notes the end of a session and the beginning of the next."""
        if self.lost.is_set():
            self.lost.clear()
            self.write("expired")
            self.session = 0
            self.ephemerals = []
        if self.session == 0 and self.zk.connected and self.zk.client_id:
            self.session = self.zk.client_id[0]
            self.write("open", outcome="ok", version=int(float(TIMEOUT) * 1000))

    def run(self):
        self.zk.start(60)
        while not quiet.is_set():
            self.watch_session()
            if not self.zk.connected or self.session == 0:
                time.sleep(0.005)
                continue
            self.one()
            time.sleep(float(PAUSE))

    def finish(self):
        self.watch_session()
        begun = now()
        # kazoo tells no outcome of its close: it waits for the connection to end.
        self.zk.stop()
        self.zk.close()
        self.lost.clear()
        self.write("close", begun=begun)


clients = [Client("%s%d" % (NAME, number)) for number in range(int(COUNT))]
for client in clients:
    client.start()
for line in sys.stdin:
    if line.strip() == "quiet":
        quiet.set()
        for client in clients:
            client.join()
    elif line.strip() == "end":
        for client in clients:
            client.finish()
    with lock:
        out.flush()
    print(line.strip(), flush=True)
    if line.strip() == "end":
        break
