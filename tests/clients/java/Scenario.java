import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooDefs.Perms;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.Id;
import org.apache.zookeeper.data.Stat;
import org.apache.zookeeper.server.auth.DigestAuthenticationProvider;

/** Apache's own Java client: the steps every client shows, then what only this client has. */
final class Scenario {
    static final String ROOT = "/java-scenario";
    static ZooKeeper zk;

    /** A client with the events that reached its default watcher. */
    static final class Client implements Watcher {
        final BlockingQueue<WatchedEvent> events = new LinkedBlockingQueue<>();
        final List<KeeperState> states = Collections.synchronizedList(new ArrayList<>());
        ZooKeeper zk;

        static Client to(String server, int timeoutMs) throws Exception {
            Client made = new Client();
            made.zk = new ZooKeeper(server, timeoutMs, made);
            Stage.until(() -> made.zk.getState().isConnected());
            Stage.until(() -> made.states.contains(KeeperState.SyncConnected));
            return made;
        }

        @Override
        public void process(WatchedEvent event) {
            if (event.getType() == EventType.None) {
                states.add(event.getState());
            } else {
                events.add(event);
            }
        }

        void expect(EventType type, String path) throws Exception {
            WatchedEvent event = events.poll(20, TimeUnit.SECONDS);
            Stage.that(event != null);
            Stage.same(type + " " + path, event.getType() + " " + event.getPath());
        }

        boolean last(KeeperState state) {
            return !states.isEmpty() && states.get(states.size() - 1) == state;
        }
    }

    static String create(String path, CreateMode mode) throws Exception {
        return zk.create(path, Stage.bytes("data"), Ids.OPEN_ACL_UNSAFE, mode);
    }

    public static void main(String[] arguments) {
        Stage.step("connect", Scenario::connect);
        Stage.step("create-kinds", Scenario::createKinds);
        Stage.step("versions", Scenario::versions);
        Stage.step("children", Scenario::children);
        Stage.step("watches-in-order", Scenario::watchesInOrder);
        Stage.step("ephemeral-vanishes", Scenario::ephemeralVanishes);
        Stage.step("sequential", Scenario::sequential);
        Stage.step("multi-succeeds", Scenario::multiSucceeds);
        Stage.step("multi-fails-whole", Scenario::multiFailsWhole);
        Stage.step("errors-are-mapped", Scenario::errorsAreMapped);
        Stage.step("auth-and-acl", Scenario::authAndAcl);
        Stage.step("large-data", Scenario::largeData);
        Stage.step("pipelined", Scenario::pipelined);
        Stage.step("cut-keeps-session", Scenario::cutKeepsSession);
        Stage.step("cut-resets-watches", Scenario::cutResetsWatches);
        Stage.step("restart-keeps-session", Scenario::restartKeepsSession);
        Stage.step("session-expires", Scenario::sessionExpires);
        Stage.step("containers-and-ttl", Scenario::containersAndTtl);
        Stage.step("persistent-watches", Scenario::persistentWatches);
        Stage.step("remove-watches", Scenario::removeWatches);
        Stage.step("multi-read", Scenario::multiRead);
        Stage.step("all-children-number-and-ephemerals", Scenario::countsAndEphemerals);
        Stage.step("who-am-i", Scenario::whoAmI);
        Stage.step("sync-and-config", Scenario::syncAndConfig);
        Stage.end();
    }

    static void connect() throws Exception {
        zk = Client.to(Stage.SERVER, 10_000).zk;
        Stage.same(10_000, zk.getSessionTimeout());
        Stage.same(16, zk.getSessionPasswd().length);
        Client modest = Client.to(Stage.SERVER, 10);
        Stage.same(1000, modest.zk.getSessionTimeout());
        modest.zk.close();
        create(ROOT, CreateMode.PERSISTENT);
    }

    static void createKinds() throws Exception {
        String base = ROOT + "/kinds";
        Stage.same(base, create(base, CreateMode.PERSISTENT));
        Stat stat = new Stat();
        zk.create(base + "/stat", Stage.bytes("12345"), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT, stat);
        Stage.same(5, stat.getDataLength());
        Stage.same(stat.getCzxid(), stat.getPzxid());
        create(base + "/ephemeral", CreateMode.EPHEMERAL);
        Stage.same(zk.getSessionId(), zk.exists(base + "/ephemeral", false).getEphemeralOwner());
        Stage.same(base + "/seq-0000000002", create(base + "/seq-", CreateMode.PERSISTENT_SEQUENTIAL));
        Stage.same(base + "/both-0000000003", create(base + "/both-", CreateMode.EPHEMERAL_SEQUENTIAL));
        create(base + "/container", CreateMode.CONTAINER);
        Stage.same(0L, zk.exists(base + "/container", false).getEphemeralOwner());
        zk.create(base + "/null", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        Stage.same(null, zk.getData(base + "/null", false, null));
    }

    static void versions() throws Exception {
        String path = create(ROOT + "/versions", CreateMode.PERSISTENT);
        Stage.same(1, zk.setData(path, Stage.bytes("one"), 0).getVersion());
        Stage.fails(KeeperException.BadVersionException.class, () -> zk.setData(path, null, 0));
        Stage.same(2, zk.setData(path, new byte[0], -1).getVersion());
        Stat stat = new Stat();
        Stage.same(0, zk.getData(path, false, stat).length);
        Stage.that(stat.getVersion() == 2 && stat.getMzxid() > stat.getCzxid() && stat.getMtime() >= stat.getCtime());
        Stage.fails(KeeperException.BadVersionException.class, () -> zk.delete(path, 1));
        zk.delete(path, 2);
        Stage.same(null, zk.exists(path, false));
    }

    static void children() throws Exception {
        String base = create(ROOT + "/children", CreateMode.PERSISTENT);
        for (String name : List.of("b", "a", "ünïcode-節点")) {
            create(base + "/" + name, CreateMode.PERSISTENT);
        }
        Stat stat = new Stat();
        List<String> names = new ArrayList<>(zk.getChildren(base, false, stat));
        Collections.sort(names);
        Stage.same(List.of("a", "b", "ünïcode-節点"), names);
        Stage.that(stat.getCversion() == 3 && stat.getNumChildren() == 3 && stat.getPzxid() > stat.getCzxid());
        Stage.fails(KeeperException.NotEmptyException.class, () -> zk.delete(base, -1));
    }

    static void watchesInOrder() throws Exception {
        Client watcher = Client.to(Stage.SERVER, 10_000);
        String path = ROOT + "/watched";
        watcher.zk.exists(path, true);
        create(path, CreateMode.PERSISTENT);
        watcher.expect(EventType.NodeCreated, path);
        watcher.zk.getData(path, true, null);
        watcher.zk.getChildren(path, true);
        create(path + "/child", CreateMode.PERSISTENT);
        zk.setData(path, null, -1);
        watcher.expect(EventType.NodeChildrenChanged, path);
        watcher.expect(EventType.NodeDataChanged, path);
        for (int turn = 0; turn < 100; turn++) {
            eventBeforeItsData(watcher.zk, path);
        }
        zk.delete(path + "/child", -1);
        watcher.zk.getData(path, true, null);
        watcher.zk.getChildren(path, true);
        zk.delete(path, -1);
        watcher.expect(EventType.NodeDeleted, path);
        zk.exists(ROOT, false);
        Stage.that(watcher.events.isEmpty());
        watcher.zk.close();
    }

    /** The event of a change comes before any reply that shows the change. */
    static void eventBeforeItsData(ZooKeeper watching, String path) throws Exception {
        BlockingQueue<String> seen = new LinkedBlockingQueue<>();
        int before = watching.exists(path, event -> seen.add("event")).getVersion();
        zk.setData(path, null, -1, (code, where, context, stat) -> { }, null);
        for (int read = 0; read < 200; read++) {
            Stat stat = new Stat();
            watching.getData(path, false, (code, where, context, data, shown) -> {
                if (shown.getVersion() > before) {
                    seen.add("data");
                }
            }, null);
            if (seen.contains("data")) {
                break;
            }
        }
        Stage.until(() -> !seen.isEmpty());
        Stage.same("event", seen.poll());
    }

    static void ephemeralVanishes() throws Exception {
        String path = ROOT + "/short-lived";
        Client other = Client.to(Stage.SERVER, 10_000);
        other.zk.create(path, null, Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL);
        Stage.fails(KeeperException.NoChildrenForEphemeralsException.class,
            () -> create(path + "/child", CreateMode.PERSISTENT));
        Client watcher = Client.to(Stage.SERVER, 10_000);
        watcher.zk.exists(path, true);
        other.zk.close();
        watcher.expect(EventType.NodeDeleted, path);
        Stage.same(null, zk.exists(path, false));
        watcher.zk.close();
    }

    static void sequential() throws Exception {
        String base = create(ROOT + "/sequence", CreateMode.PERSISTENT);
        List<String> made = Collections.synchronizedList(new ArrayList<>());
        for (int number = 0; number < 100; number++) {
            zk.create(base + "/n-", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_SEQUENTIAL,
                (code, path, context, name) -> made.add(name), null);
        }
        Stage.until(() -> made.size() == 100);
        for (int number = 0; number < 100; number++) {
            Stage.same(String.format("%s/n-%010d", base, number), made.get(number));
        }
    }

    static void multiSucceeds() throws Exception {
        String base = create(ROOT + "/multi", CreateMode.PERSISTENT);
        List<OpResult> results = zk.multi(List.of(
            Op.check(base, 0),
            Op.create(base + "/a", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT),
            Op.create(base + "/s-", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_SEQUENTIAL),
            Op.setData(base + "/a", Stage.bytes("2"), 0),
            Op.delete(base + "/a", 1)));
        Stage.same(5, results.size());
        Stage.same(base + "/s-0000000001", ((OpResult.CreateResult) results.get(2)).getPath());
        Stage.same(1, ((OpResult.SetDataResult) results.get(3)).getStat().getVersion());
        Stage.same(List.of("s-0000000001"), zk.getChildren(base, false));
        Stage.same(List.of(), zk.multi(List.of()));
    }

    static void multiFailsWhole() throws Exception {
        String base = create(ROOT + "/multi-fails", CreateMode.PERSISTENT);
        Stat before = zk.exists(base, false);
        KeeperException failure = Stage.fails(KeeperException.BadVersionException.class, () -> zk.multi(List.of(
            Op.create(base + "/a", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT),
            Op.setData(base, null, -1),
            Op.check(base, 7),
            Op.create(base + "/b", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT))));
        List<Integer> codes = new ArrayList<>();
        for (OpResult result : failure.getResults()) {
            codes.add(((OpResult.ErrorResult) result).getErr());
        }
        Stage.same(List.of(0, 0, KeeperException.Code.BADVERSION.intValue(),
            KeeperException.Code.RUNTIMEINCONSISTENCY.intValue()), codes);
        Stage.same(before, zk.exists(base, false));
    }

    static void errorsAreMapped() throws Exception {
        String here = create(ROOT + "/errors", CreateMode.PERSISTENT);
        KeeperException failure = Stage.fails(KeeperException.NodeExistsException.class,
            () -> create(here, CreateMode.PERSISTENT));
        Stage.same(here, failure.getPath());
        Stage.fails(KeeperException.NoNodeException.class, () -> create(here + "/no/parent", CreateMode.PERSISTENT));
        Stage.fails(KeeperException.NoNodeException.class, () -> zk.getData(here + "/none", false, null));
        Stage.fails(KeeperException.NoNodeException.class, () -> zk.setData(here + "/none", null, -1));
        Stage.fails(KeeperException.NoNodeException.class, () -> zk.delete(here + "/none", -1));
        Stage.fails(KeeperException.NoNodeException.class, () -> zk.getChildren(here + "/none", false));
        Stage.fails(KeeperException.NoNodeException.class, () -> zk.getACL(here + "/none", null));
        Stage.fails(KeeperException.BadVersionException.class, () -> zk.setACL(here, Ids.OPEN_ACL_UNSAFE, 9));
        Stage.fails(KeeperException.BadArgumentsException.class, () -> zk.delete("/zookeeper/config", -1));
        Stage.fails(KeeperException.InvalidACLException.class, () -> zk.create(here + "/acl", null,
            Arrays.asList(new ACL(Perms.ALL, new Id("no-such-scheme", "who"))), CreateMode.PERSISTENT));
        Stage.fails(KeeperException.InvalidACLException.class,
            () -> zk.create(here + "/acl", null, Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT));
    }

    static void authAndAcl() throws Exception {
        String path = ROOT + "/secret";
        Client owner = Client.to(Stage.SERVER, 10_000);
        owner.zk.addAuthInfo("digest", Stage.bytes("user:secret"));
        owner.zk.create(path, Stage.bytes("hidden"), Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT);
        Stage.fails(KeeperException.NoAuthException.class, () -> zk.getData(path, false, null));
        Stage.fails(KeeperException.NoAuthException.class, () -> zk.setData(path, null, -1));
        Stage.fails(KeeperException.NoAuthException.class, () -> create(path + "/child", CreateMode.PERSISTENT));
        Stage.same(Stage.bytes("hidden"), owner.zk.getData(path, false, null));
        Id me = new Id("digest", DigestAuthenticationProvider.generateDigest("user:secret"));
        Stage.same(List.of(new ACL(Perms.ALL, me)), owner.zk.getACL(path, null));
        Stage.same(1, owner.zk.setACL(path, Ids.READ_ACL_UNSAFE, 0).getAversion());
        Stage.same(Stage.bytes("hidden"), zk.getData(path, false, null));
        Stage.fails(KeeperException.NoAuthException.class, () -> zk.setData(path, null, -1));
        owner.zk.addAuthInfo("digest", Stage.bytes("super:test"));
        owner.zk.setData(path, Stage.bytes("by super"), -1);
        owner.zk.close();
        Client stranger = Client.to(Stage.SERVER, 10_000);
        stranger.zk.addAuthInfo("no-such-scheme", Stage.bytes("who"));
        Stage.until(() -> stranger.states.contains(KeeperState.AuthFailed));
        stranger.zk.close();
    }

    static void largeData() throws Exception {
        String path = create(ROOT + "/large", CreateMode.PERSISTENT);
        byte[] large = new byte[1_044_480];
        for (int index = 0; index < large.length; index++) {
            large[index] = (byte) (index * 31);
        }
        zk.setData(path, large, -1);
        Stage.same(large, zk.getData(path, false, null));
        Client other = Client.to(Stage.SERVER, 10_000);
        Stage.fails(KeeperException.ConnectionLossException.class,
            () -> other.zk.setData(path, new byte[1_100_000], -1));
        Stage.same(1, zk.exists(path, false).getVersion());
        other.zk.close();
        zk.delete(path, -1);
    }

    static void pipelined() throws Exception {
        String path = create(ROOT + "/pipeline", CreateMode.PERSISTENT);
        List<Integer> versions = Collections.synchronizedList(new ArrayList<>());
        AtomicInteger done = new AtomicInteger();
        for (int number = 0; number < 5000; number++) {
            zk.setData(path, Stage.bytes("m" + number), -1,
                (code, where, context, stat) -> versions.add(stat.getVersion()), null);
            byte[] expected = Stage.bytes("m" + number);
            zk.getData(path, false, (code, where, context, data, stat) -> {
                versions.add(stat.getVersion());
                done.addAndGet(Arrays.equals(expected, data) ? 1 : -100_000);
            }, null);
        }
        Stage.until(() -> versions.size() == 10_000);
        Stage.same(5000, done.get());
        for (int index = 0; index < 10_000; index++) {
            Stage.same(index / 2 + 1, versions.get(index));
        }
    }

    static void cutKeepsSession() throws Exception {
        Client other = Client.to(Stage.PROXY, 10_000);
        String path = ROOT + "/cut";
        other.zk.create(path, null, Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL);
        long session = other.zk.getSessionId();
        Stage.ask("cut");
        Stage.until(() -> other.states.contains(KeeperState.Disconnected) && other.last(KeeperState.SyncConnected));
        Stage.same(session, other.zk.getSessionId());
        Stage.same(session, other.zk.exists(path, false).getEphemeralOwner());
        // Two clients on one session drive each other out; one of them has to stay outside.
        Stage.ask("hold");
        Client heir = new Client();
        heir.zk = new ZooKeeper(Stage.SERVER, 10_000, heir, session, other.zk.getSessionPasswd());
        Stage.until(() -> heir.last(KeeperState.SyncConnected));
        Stage.same(session, heir.zk.getSessionId());
        Client thief = new Client();
        thief.zk = new ZooKeeper(Stage.SERVER, 10_000, thief, session, new byte[16]);
        Stage.until(() -> thief.states.contains(KeeperState.Expired));
        Stage.until(() -> stillThere(heir.zk, path));
        heir.zk.close();
        Stage.same(null, zk.exists(path, false));
        Stage.ask("release");
        Stage.until(() -> other.states.contains(KeeperState.Expired));
        other.zk.close();
        thief.zk.close();
    }

    /** Whether the path exists, for a client whose connection a thief may just have cost it. */
    static boolean stillThere(ZooKeeper zk, String path) throws Exception {
        try {
            return zk.exists(path, false) != null;
        } catch (KeeperException.ConnectionLossException lost) {
            return false;
        }
    }

    static void cutResetsWatches() throws Exception {
        Client other = Client.to(Stage.PROXY, 20_000);
        String base = create(ROOT + "/resets", CreateMode.PERSISTENT);
        String data = create(base + "/data", CreateMode.PERSISTENT);
        String gone = create(base + "/gone", CreateMode.PERSISTENT);
        String quiet = create(base + "/quiet", CreateMode.PERSISTENT);
        other.zk.getData(data, true, null);
        other.zk.exists(base + "/new", true);
        other.zk.getData(quiet, true, null);
        other.zk.getChildren(base, true);
        other.zk.exists(gone, true);
        other.zk.addWatch(base, AddWatchMode.PERSISTENT);
        Stage.ask("hold");
        zk.setData(data, null, -1);
        create(base + "/new", CreateMode.PERSISTENT);
        zk.delete(gone, -1);
        Stage.ask("release");
        List<String> seen = new ArrayList<>();
        for (int count = 0; count < 4; count++) {
            WatchedEvent event = other.events.poll(20, TimeUnit.SECONDS);
            Stage.that(event != null);
            seen.add(event.getType() + " " + event.getPath().substring(ROOT.length()));
        }
        Collections.sort(seen);
        Stage.same(List.of("NodeChildrenChanged /resets", "NodeCreated /resets/new",
            "NodeDataChanged /resets/data", "NodeDeleted /resets/gone"), seen);
        // What did not change is still watched, and the persistent watch too.
        zk.setData(quiet, null, -1);
        other.expect(EventType.NodeDataChanged, quiet);
        zk.setData(base, null, -1);
        other.expect(EventType.NodeDataChanged, base);
        zk.setData(base, null, -1);
        other.expect(EventType.NodeDataChanged, base);
        other.zk.close();
    }

    static void restartKeepsSession() throws Exception {
        Client other = Client.to(Stage.SERVER, 30_000);
        Client heir = Client.to(Stage.SERVER, 30_000);
        zk = heir.zk;
        String path = ROOT + "/restart";
        other.zk.create(path, Stage.bytes("kept"), Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL);
        long session = other.zk.getSessionId();
        Stat before = zk.exists(ROOT, false);
        other.zk.getData(path, true, null);
        Stage.ask("restart");
        Stage.until(() -> other.states.contains(KeeperState.Disconnected) && other.last(KeeperState.SyncConnected));
        Stage.until(() -> heir.states.contains(KeeperState.Disconnected) && heir.last(KeeperState.SyncConnected));
        Stage.same(before, zk.exists(ROOT, false));
        Stat stat = new Stat();
        Stage.same(Stage.bytes("kept"), zk.getData(path, false, stat));
        Stage.same(session, stat.getEphemeralOwner());
        Stage.same(session, other.zk.getSessionId());
        zk.setData(path, null, -1);
        other.expect(EventType.NodeDataChanged, path);
        other.zk.close();
        Stage.same(null, zk.exists(path, false));
    }

    static void sessionExpires() throws Exception {
        Client other = Client.to(Stage.PROXY, 2000);
        String path = ROOT + "/expires";
        other.zk.create(path, null, Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL);
        Stage.ask("hold");
        Stage.until(() -> zk.exists(path, false) == null);
        Stage.ask("release");
        Stage.until(() -> other.states.contains(KeeperState.Expired));
        Stage.fails(KeeperException.SessionExpiredException.class, () -> other.zk.exists(path, false));
        other.zk.close();
    }

    static void containersAndTtl() throws Exception {
        String container = create(ROOT + "/container", CreateMode.CONTAINER);
        String child = create(container + "/child", CreateMode.PERSISTENT);
        Stat stat = new Stat();
        String ttl = ROOT + "/ttl";
        zk.create(ttl, null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_WITH_TTL, stat, 300);
        Stage.same(0L, zk.exists(ttl, false).getEphemeralOwner());
        zk.create(ttl + "-", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL, stat, 3_600_000);
        Stage.fails(IllegalArgumentException.class, () -> zk.create(ttl + "x", null, Ids.OPEN_ACL_UNSAFE,
            CreateMode.PERSISTENT_WITH_TTL, stat, 1L << 41));
        zk.delete(child, -1);
        Stage.until(() -> zk.exists(container, false) == null);
        Stage.until(() -> zk.exists(ttl, false) == null);
    }

    static void persistentWatches() throws Exception {
        Client watcher = Client.to(Stage.SERVER, 10_000);
        String base = create(ROOT + "/persistent", CreateMode.PERSISTENT);
        watcher.zk.addWatch(base, AddWatchMode.PERSISTENT_RECURSIVE);
        create(base + "/a", CreateMode.PERSISTENT);
        create(base + "/a/b", CreateMode.PERSISTENT);
        zk.setData(base + "/a/b", null, -1);
        zk.delete(base + "/a/b", -1);
        zk.setData(base, null, -1);
        watcher.expect(EventType.NodeCreated, base + "/a");
        watcher.expect(EventType.NodeCreated, base + "/a/b");
        watcher.expect(EventType.NodeDataChanged, base + "/a/b");
        watcher.expect(EventType.NodeDeleted, base + "/a/b");
        watcher.expect(EventType.NodeDataChanged, base);
        watcher.zk.close();
    }

    static void removeWatches() throws Exception {
        Client watcher = Client.to(Stage.SERVER, 10_000);
        String path = create(ROOT + "/unwatched", CreateMode.PERSISTENT);
        watcher.zk.getData(path, true, null);
        watcher.zk.removeWatches(path, watcher, Watcher.WatcherType.Data, false);
        watcher.expect(EventType.DataWatchRemoved, path);
        Stage.fails(KeeperException.NoWatcherException.class,
            () -> watcher.zk.removeWatches(path, watcher, Watcher.WatcherType.Any, false));
        zk.setData(path, null, -1);
        watcher.zk.exists(path, false);
        Stage.that(watcher.events.isEmpty());
        watcher.zk.close();
    }

    static void multiRead() throws Exception {
        String base = create(ROOT + "/multi-read", CreateMode.PERSISTENT);
        create(base + "/a", CreateMode.PERSISTENT);
        List<OpResult> results = zk.multi(
            List.of(Op.getData(base), Op.getChildren(base), Op.getData(base + "/none")));
        Stage.same(Stage.bytes("data"), ((OpResult.GetDataResult) results.get(0)).getData());
        Stage.same(List.of("a"), ((OpResult.GetChildrenResult) results.get(1)).getChildren());
        Stage.same(KeeperException.Code.NONODE.intValue(), ((OpResult.ErrorResult) results.get(2)).getErr());
    }

    static void countsAndEphemerals() throws Exception {
        String base = create(ROOT + "/counts", CreateMode.PERSISTENT);
        create(base + "/a", CreateMode.PERSISTENT);
        create(base + "/a/e", CreateMode.EPHEMERAL);
        Stage.same(2, zk.getAllChildrenNumber(base));
        Stage.same(List.of(base + "/a/e"), zk.getEphemerals(base));
    }

    static void whoAmI() throws Exception {
        zk.addAuthInfo("digest", Stage.bytes("user:secret"));
        List<String> who = new ArrayList<>();
        zk.whoAmI().forEach(info -> who.add(info.getAuthScheme() + ":" + info.getUser()));
        Collections.sort(who);
        Stage.same(List.of("digest:user", "ip:127.0.0.1"), who);
    }

    static void syncAndConfig() throws Exception {
        List<Integer> codes = Collections.synchronizedList(new ArrayList<>());
        zk.sync(ROOT, (code, path, context) -> codes.add(code), null);
        Stage.until(() -> codes.size() == 1);
        Stage.same(List.of(0), codes);
        Stat stat = new Stat();
        Stage.same(0, new String(zk.getData("/zookeeper/config", false, stat)).length());
        org.apache.zookeeper.ZKUtil.deleteRecursive(zk, ROOT);
        Stage.same(null, zk.exists(ROOT, false));
    }
}
