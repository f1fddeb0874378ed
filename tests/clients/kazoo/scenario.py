"""kazoo's own client against one server: the steps every client shows, then kazoo's recipes."""
import queue
import threading
import time

from kazoo import exceptions as ke
from kazoo.client import KazooClient, KazooState
from kazoo.protocol.states import EventType
from kazoo.security import OPEN_ACL_UNSAFE, make_digest_acl
from kazoo.recipe.lease import NonBlockingLease, MultiNonBlockingLease
import datetime

import stage

ROOT = "/kazoo-scenario"
zk = None
opened = []


def client(where=stage.SERVER, **options):
    options.setdefault("timeout", 10)
    made = KazooClient(where, **options)
    made.start(20)
    opened.append(made)
    return made


def connect():
    global zk
    zk = client()
    assert zk.connected and zk.client_id[0] != 0 and len(zk.client_id[1]) == 16
    zk.ensure_path(ROOT)


def create_kinds():
    base = ROOT + "/kinds"
    assert zk.create(base, b"persistent") == base
    path, stat = zk.create(base + "/stat", b"12345", include_data=True)
    assert path == base + "/stat" and stat.dataLength == 5 and stat.version == 0 and stat.czxid == stat.mzxid
    zk.create(base + "/ephemeral", b"e", ephemeral=True)
    assert zk.exists(base + "/ephemeral").ephemeralOwner == zk.client_id[0]
    assert zk.create(base + "/seq-", sequence=True) == base + "/seq-0000000002"
    path = zk.create(base + "/both-", ephemeral=True, sequence=True)
    assert path == base + "/both-0000000003", path
    assert zk.exists(path).ephemeralOwner == zk.client_id[0]


def versions():
    path = ROOT + "/versions"
    zk.create(path, b"zero")
    assert zk.set(path, b"one", version=0).version == 1
    stage.raises(ke.BadVersionError, zk.set, path, b"x", version=0)
    assert zk.set(path, b"", version=-1).version == 2
    data, stat = zk.get(path)
    assert data == b"" and stat.version == 2 and stat.mzxid > stat.czxid and stat.numChildren == 0
    stage.raises(ke.BadVersionError, zk.delete, path, version=1)
    zk.delete(path, version=2)
    assert zk.exists(path) is None


def children():
    base = ROOT + "/children"
    zk.create(base)
    for name in ("b", "a", "ünïcode-節点"):
        zk.create(base + "/" + name)
    names, stat = zk.get_children(base, include_data=True)
    assert sorted(names) == ["a", "b", "ünïcode-節点"] and stat.cversion == 3 and stat.numChildren == 3
    stage.raises(ke.NotEmptyError, zk.delete, base)
    zk.delete(base, recursive=True)
    assert zk.exists(base) is None


def watches_in_order():
    path = ROOT + "/watched"
    events = queue.Queue()
    watch = events.put
    assert zk.exists(path, watch=watch) is None
    zk.create(path, b"0")
    event = events.get(timeout=10)
    assert (event.type, event.path) == (EventType.CREATED, path)
    zk.get(path, watch=watch)
    zk.get_children(path, watch=watch)
    zk.create(path + "/child")
    zk.set(path, b"1")
    assert [events.get(timeout=10).type for _ in range(2)] == [EventType.CHILD, EventType.CHANGED]
    # Events of many changes come in the changes' order.
    names = [path + "/%d" % number for number in range(50)]
    for name in names:
        zk.exists_async(name, watch=watch)
    for name in names:
        zk.create_async(name)
    assert [events.get(timeout=10).path for _ in names] == names
    for name in names:
        zk.delete(name)
    zk.delete(path + "/child")
    zk.get(path, watch=watch)
    zk.delete(path)
    assert events.get(timeout=10).type == EventType.DELETED
    assert events.empty()


def ephemeral_vanishes():
    path = ROOT + "/short-lived"
    other = client()
    other.create(path, ephemeral=True)
    gone = threading.Event()
    zk.exists(path, watch=lambda event: gone.set())
    stage.raises(ke.NoChildrenForEphemeralsError, zk.create, path + "/child")
    other.stop()
    assert gone.wait(10)
    assert zk.exists(path) is None


def sequential():
    base = ROOT + "/sequence"
    zk.create(base)
    made = [zk.create_async(base + "/n-", sequence=True) for _ in range(100)]
    assert [one.get() for one in made] == [base + "/n-%010d" % number for number in range(100)]


def multi_succeeds():
    base = ROOT + "/multi"
    zk.create(base)
    with_it = zk.transaction()
    with_it.check(base, 0)
    with_it.create(base + "/a", b"1")
    with_it.create(base + "/s-", sequence=True)
    with_it.set_data(base + "/a", b"2")
    with_it.delete(base + "/a")
    results = with_it.commit()
    assert results[0] is True and results[1] == base + "/a" and results[2] == base + "/s-0000000001", results
    assert results[3].version == 1 and results[4] is True, results
    assert zk.get_children(base) == ["s-0000000001"]


def multi_fails_whole():
    base = ROOT + "/multi-fails"
    zk.create(base)
    before = zk.exists(base)
    with_it = zk.transaction()
    with_it.create(base + "/a")
    with_it.set_data(base, b"x")
    with_it.check(base, 7)
    with_it.create(base + "/b")
    kinds = [type(result) for result in with_it.commit()]
    assert kinds == [ke.RolledBackError, ke.RolledBackError, ke.BadVersionError, ke.RuntimeInconsistency], kinds
    assert zk.exists(base) == before and zk.get_children(base) == []


def errors_are_mapped():
    here = ROOT + "/errors"
    zk.create(here)
    stage.raises(ke.NodeExistsError, zk.create, here)
    stage.raises(ke.NoNodeError, zk.create, here + "/no/parent")
    stage.raises(ke.NoNodeError, zk.get, here + "/none")
    stage.raises(ke.NoNodeError, zk.set, here + "/none", b"")
    stage.raises(ke.NoNodeError, zk.delete, here + "/none")
    stage.raises(ke.NoNodeError, zk.get_children, here + "/none")
    stage.raises(ke.NoNodeError, zk.get_acls, here + "/none")
    stage.raises(ke.BadVersionError, zk.set_acls, here, OPEN_ACL_UNSAFE, version=5)
    stage.raises(ke.BadArgumentsError, zk.delete, "/zookeeper/config")
    stage.raises(ke.InvalidACLError, zk.create, here + "/acl", acl=[make_bad_acl()])


def make_bad_acl():
    from kazoo.security import ACL, Id

    return ACL(31, Id("no-such-scheme", "who"))


def auth_and_acl():
    path = ROOT + "/secret"
    mine = make_digest_acl("user", "secret", all=True)
    owner = client(auth_data=[("digest", "user:secret")])
    owner.create(path, b"hidden", acl=[mine])
    stage.raises(ke.NoAuthError, zk.get, path)
    stage.raises(ke.NoAuthError, zk.set, path, b"")
    stage.raises(ke.NoAuthError, zk.create, path + "/child")
    assert owner.get(path)[0] == b"hidden"
    acls, stat = owner.get_acls(path)
    assert acls == [mine] and stat.aversion == 0
    owner.set_acls(path, OPEN_ACL_UNSAFE, version=0)
    assert zk.get_acls(path)[1].aversion == 1
    assert zk.get(path)[0] == b"hidden"
    # Auth in the middle of a session, of the super user.
    locked = ROOT + "/locked"
    owner.create(locked, b"", acl=[mine])
    superuser = client()
    stage.raises(ke.NoAuthError, superuser.get, locked)
    superuser.add_auth("digest", "super:test")
    assert superuser.get(locked)[0] == b""
    stage.raises(ke.AuthFailedError, client().add_auth, "no-such-scheme", "who")


def large_data():
    path = ROOT + "/large"
    large = bytes(range(256)) * 4080  # 1,044,480 bytes; the frame's bound is 1,048,575
    zk.create(path, large)
    assert zk.get(path)[0] == large
    # One that is over the bound costs its connection, and nothing else.
    other = client()
    lost = threading.Event()
    other.add_listener(lambda state: lost.set() if state != KazooState.CONNECTED else None)
    stage.raises(ke.ConnectionLoss, other.set, path, b"x" * 1_100_000)
    assert lost.wait(10)
    assert zk.exists(path).version == 0
    zk.delete(path)


def pipelined():
    path = ROOT + "/pipeline"
    zk.create(path, b"")
    sets = [zk.set_async(path, b"%d" % number) for number in range(2000)]
    gets = [zk.get_async(path) for _ in range(2000)]
    assert [one.get().version for one in sets] == list(range(1, 2001))
    assert all(one.get()[0] == b"1999" for one in gets)
    mixed = []
    for number in range(1000):
        mixed.append((zk.set_async(path, b"m%d" % number), zk.get_async(path), b"m%d" % number))
    for set_, get, data in mixed:
        version = set_.get().version
        read, stat = get.get()
        assert (read, stat.version) == (data, version)


def cut_keeps_session():
    other = client(stage.PROXY)
    path = ROOT + "/cut"
    other.create(path, ephemeral=True)
    session = other.client_id
    states = []
    other.add_listener(states.append)
    stage.ask("cut")
    stage.until(lambda: states[-1:] == [KazooState.CONNECTED])
    assert states == [KazooState.SUSPENDED, KazooState.CONNECTED] and other.client_id == session
    assert other.exists(path).ephemeralOwner == session[0]
    # The same session from another connection: a client that was given id and password.
    stage.ask("hold")
    heir = client(client_id=session)
    assert heir.client_id == session
    heir.stop()
    stage.until(lambda: zk.exists(path) is None)
    stage.ask("release")
    stage.until(lambda: KazooState.LOST in states)


def cut_resets_watches():
    """kazoo sends no setWatches; its recipes watch again on reconnect and must miss nothing."""
    base = ROOT + "/resets"
    zk.create(base, b"0")
    other = client(stage.PROXY)
    seen, names = [], []
    other.DataWatch(base, lambda data, stat: seen.append(data))
    other.ChildrenWatch(base, lambda children: names.append(sorted(children)))
    stage.until(lambda: seen == [b"0"] and names == [[]])
    stage.ask("hold")
    zk.set(base, b"1")
    zk.create(base + "/child")
    stage.ask("release")
    stage.until(lambda: seen == [b"0", b"1"] and names == [[], ["child"]])
    zk.set(base, b"2")
    stage.until(lambda: seen == [b"0", b"1", b"2"])


def restart_keeps_session():
    path = ROOT + "/restart"
    other = client(timeout=20)
    other.create(path, b"kept", ephemeral=True)
    session = other.client_id
    before = zk.get(ROOT)[1]
    stage.ask("restart")
    stage.until(lambda: other.connected and zk.connected)
    data, stat = zk.retry(zk.get, path)
    assert data == b"kept" and stat.ephemeralOwner == session[0] == other.client_id[0]
    assert zk.get(ROOT)[1] == before
    other.stop()
    stage.until(lambda: zk.exists(path) is None)


def session_expires():
    path = ROOT + "/expires"
    other = client(stage.PROXY, timeout=2)
    other.create(path, ephemeral=True)
    states = []
    other.add_listener(states.append)
    session = other.client_id
    stage.ask("hold")
    stage.until(lambda: zk.exists(path) is None)
    stage.ask("release")
    stage.until(lambda: states[-1:] == [KazooState.CONNECTED])
    assert states == [KazooState.SUSPENDED, KazooState.LOST, KazooState.CONNECTED], states
    assert other.client_id[0] != session[0]


def lock():
    base = ROOT + "/lock"
    order, held = [], threading.Lock()

    def work(name):
        mine = client()
        with mine.Lock(base, name):
            assert held.acquire(blocking=False), "two hold the lock"
            order.append(name)
            time.sleep(0.01)
            held.release()
        mine.stop()

    workers = [threading.Thread(target=work, args=("worker-%d" % number,)) for number in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert sorted(order) == ["worker-%d" % number for number in range(6)], order
    first, second = client(), client()
    one = first.Lock(base, "one")
    assert one.acquire()
    assert not second.Lock(base, "two").acquire(blocking=False)
    assert second.Lock(base).contenders() == ["one"]
    first.stop()  # its ephemeral goes, and the lock with it
    assert second.Lock(base, "two").acquire(timeout=10)


def read_write_locks():
    base = ROOT + "/rw-lock"
    zk.create(base)
    one, two, three = client(), client(), client()
    read_one, read_two, write = one.ReadLock(base, "r1"), two.ReadLock(base, "r2"), three.WriteLock(base, "w")
    assert read_one.acquire() and read_two.acquire(timeout=5)
    assert not write.acquire(blocking=False)
    read_one.release()
    read_two.release()
    assert write.acquire(timeout=5)
    assert not one.ReadLock(base, "r3").acquire(blocking=False)
    write.release()


def semaphore():
    base = ROOT + "/semaphore"
    permits = [client().Semaphore(base, max_leases=2) for _ in range(3)]
    assert permits[0].acquire() and permits[1].acquire() and not permits[2].acquire(blocking=False)
    assert len(permits[2].lease_holders()) == 2
    permits[0].release()
    assert permits[2].acquire(timeout=5)


def election():
    base = ROOT + "/election"
    leaders, go_on = queue.Queue(), threading.Semaphore(0)

    def lead(name):
        leaders.put(name)
        go_on.acquire()

    for number in range(3):
        one = client().Election(base, "candidate-%d" % number)
        threading.Thread(target=one.run, args=(lead, "candidate-%d" % number), daemon=True).start()
    stage.until(lambda: len(zk.get_children(base)) == 3 if zk.exists(base) else False)
    names = zk.Election(base).contenders()
    for name in names:
        assert leaders.get(timeout=10) == name
        assert leaders.empty()
        go_on.release()


def queues():
    base = ROOT + "/queue"
    put, take = zk.Queue(base), client().Queue(base)
    for number in range(10):
        put.put(b"%d" % number, priority=50 if number < 5 else 10)
    assert len(take) == 10
    assert [take.get() for _ in range(10)] == [b"5", b"6", b"7", b"8", b"9", b"0", b"1", b"2", b"3", b"4"]
    assert take.get() is None
    put, take = zk.LockingQueue(base + "-locking"), client().LockingQueue(base + "-locking")
    put.put_all([b"a", b"b"])
    assert take.get(timeout=5) == b"a" and take.holds_lock() and take.consume()
    assert take.get(timeout=5) == b"b" and take.release()
    assert take.get(timeout=5) == b"b" and take.consume()


def data_and_children_watches():
    base = ROOT + "/recipes"
    data, names = [], []
    zk.DataWatch(base, lambda value, stat, event: data.append((value, event and event.type)))
    stage.until(lambda: data == [(None, None)])
    zk.create(base, b"0")
    stage.until(lambda: len(data) == 2)
    zk.ChildrenWatch(base, lambda children: names.append(sorted(children)))
    zk.create(base + "/a")
    stage.until(lambda: names == [[], ["a"]])
    zk.set(base, b"1")
    stage.until(lambda: len(data) == 3)
    zk.delete(base, recursive=True)
    stage.until(lambda: len(data) == 4)
    assert data == [
        (None, None), (b"0", EventType.CREATED), (b"1", EventType.CHANGED), (None, EventType.DELETED)
    ], data


def tree_cache():
    from kazoo.recipe.cache import TreeCache, TreeEvent

    base = ROOT + "/tree"
    zk.ensure_path(base + "/a/b")
    other = client(stage.PROXY)
    cache, events = TreeCache(other, base), queue.Queue()
    cache.listen(events.put)
    cache.start()
    stage.until(lambda: cache.get_data(base + "/a/b") is not None)
    zk.set(base + "/a/b", b"1")
    stage.until(lambda: cache.get_data(base + "/a/b").data == b"1")
    stage.ask("cut")
    zk.create(base + "/a/c", b"2")
    stage.until(lambda: cache.get_children(base + "/a") == frozenset(["b", "c"]))
    zk.delete(base + "/a", recursive=True)
    stage.until(lambda: cache.get_data(base + "/a") is None)
    kinds = set()
    while not events.empty():
        kinds.add(events.get().event_type)
    assert {TreeEvent.INITIALIZED, TreeEvent.NODE_ADDED, TreeEvent.NODE_UPDATED, TreeEvent.NODE_REMOVED} <= kinds
    cache.close()


def counter():
    base = ROOT + "/counter"
    counters = [client().Counter(base) for _ in range(3)]

    def count(one):
        for _ in range(20):
            one += 1

    workers = [threading.Thread(target=count, args=(one,)) for one in counters]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert zk.Counter(base).value == 60


def barriers():
    base = ROOT + "/barrier"
    barrier, passed = zk.Barrier(base), threading.Event()
    barrier.create()
    other = client().Barrier(base)
    threading.Thread(target=lambda: other.wait(20) and passed.set(), daemon=True).start()
    assert not passed.wait(0.2)
    barrier.remove()
    assert passed.wait(10)
    trail = queue.Queue()

    def both(name):
        double = client().DoubleBarrier(base + "-double", 2, name)
        double.enter()
        trail.put("in")
        double.leave()
        trail.put("out")

    for name in ("one", "two"):
        threading.Thread(target=both, args=(name,), daemon=True).start()
    assert sorted(trail.get(timeout=20) for _ in range(4)) == ["in", "in", "out", "out"]


def party():
    base = ROOT + "/party"
    one, two = client(), client()
    first, second = one.Party(base, "one"), two.ShallowParty(base + "-shallow", "two")
    first.join()
    second.join()
    assert list(zk.Party(base)) == ["one"] and list(zk.ShallowParty(base + "-shallow")) == ["two"]
    one.stop()
    stage.until(lambda: len(zk.Party(base)) == 0)


def partitioner():
    base, shares = ROOT + "/partition", {}

    def work(name):
        mine = client()
        part = mine.SetPartitioner(base, set(range(6)), time_boundary=0.5, identifier=name)
        while len(shares.get(name, ())) != 3:
            if part.release:
                part.release_set()
            elif part.acquired:
                shares[name] = set(part)
                time.sleep(0.05)
            elif part.allocating:
                part.wait_for_acquire(5)
        stage.until(lambda: len(shares) == 2 and all(len(share) == 3 for share in shares.values()))
        part.finish()

    workers = [threading.Thread(target=work, args=(name,), daemon=True) for name in ("one", "two")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert shares["one"] | shares["two"] == set(range(6)), shares


def lease():
    base, hour = ROOT + "/lease", datetime.timedelta(hours=1)
    assert NonBlockingLease(zk, base, hour, identifier="one")
    assert not NonBlockingLease(client(), base, hour, identifier="two")
    many = [bool(MultiNonBlockingLease(client(), 2, base + "-many", hour, identifier=str(n))) for n in range(3)]
    assert many == [True, True, False], many


def four_letter_words():
    assert zk.server_version() == (3, 9, 5)
    assert "Zookeeper version" in zk.command(b"stat") and zk.command(b"ruok") == "imok"


def close():
    stage.until(lambda: zk.connected)
    superuser = client(auth_data=[("digest", "super:test")])
    superuser.delete(ROOT, recursive=True)
    assert superuser.get_children("/") == ["zookeeper"]
    for one in opened:
        one.stop()
        one.close()


stage.play([
    connect, create_kinds, versions, children, watches_in_order, ephemeral_vanishes, sequential, multi_succeeds,
    multi_fails_whole, errors_are_mapped, auth_and_acl, large_data, pipelined, cut_keeps_session,
    cut_resets_watches, restart_keeps_session, session_expires, lock, read_write_locks, semaphore, election, queues,
    data_and_children_watches, tree_cache, counter, barriers, party, partitioner, lease, four_letter_words,
    close,
])
