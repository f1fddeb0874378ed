import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.api.transaction.CuratorTransactionResult;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.cache.NodeCache;
import org.apache.curator.framework.recipes.cache.TreeCache;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.nodes.PersistentTtlNode;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.shared.VersionedValue;
import org.apache.curator.framework.recipes.watch.PersistentWatcher;
import org.apache.curator.retry.RetryForever;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.data.Stat;

/** Curator's recipes, each with two clients or more, and through broken connections where that is their point. */
final class Recipes {
    static final String ROOT = "/curator-recipes";
    static final List<CuratorFramework> OPENED = Collections.synchronizedList(new ArrayList<>());
    static CuratorFramework curator;

    static CuratorFramework to(String server, int timeoutMs) {
        CuratorFramework made = CuratorFrameworkFactory.builder().connectString(server)
            .sessionTimeoutMs(timeoutMs).connectionTimeoutMs(5000).retryPolicy(new RetryForever(50)).build();
        made.start();
        OPENED.add(made);
        return made;
    }

    static CuratorFramework another() {
        return to(Stage.SERVER, 20_000);
    }

    public static void main(String[] arguments) {
        Stage.step("connect", () -> {
            curator = another();
            Stage.that(curator.blockUntilConnected(20, TimeUnit.SECONDS));
            curator.create().forPath(ROOT, new byte[0]);
        });
        Stage.step("mutex", Recipes::mutex);
        Stage.step("read-write-lock", Recipes::readWriteLock);
        Stage.step("semaphore", Recipes::semaphore);
        Stage.step("leader-latch", Recipes::leaderLatch);
        Stage.step("leader-selector", Recipes::leaderSelector);
        Stage.step("node-cache", Recipes::nodeCache);
        Stage.step("curator-cache", Recipes::curatorCache);
        Stage.step("tree-cache", Recipes::treeCache);
        Stage.step("persistent-ttl-node", Recipes::persistentTtlNode);
        Stage.step("persistent-node-survives-expiry", Recipes::persistentNode);
        Stage.step("transactions", Recipes::transactions);
        Stage.step("shared-counter", Recipes::sharedCounter);
        Stage.step("distributed-atomic-long", Recipes::atomicLong);
        Stage.step("barriers", Recipes::barriers);
        Stage.step("group-membership", Recipes::groupMembership);
        Stage.step("queue", Recipes::queue);
        Stage.step("persistent-watcher", Recipes::persistentWatcher);
        Stage.step("protected-create-survives-cut", Recipes::protectedCreate);
        Stage.step("close", () -> {
            curator.delete().deletingChildrenIfNeeded().forPath(ROOT);
            OPENED.forEach(CuratorFramework::close);
        });
        Stage.end();
    }

    static void mutex() throws Exception {
        AtomicInteger inside = new AtomicInteger();
        AtomicInteger turns = new AtomicInteger();
        List<Thread> workers = new ArrayList<>();
        for (int number = 0; number < 5; number++) {
            CuratorFramework mine = another();
            Thread worker = new Thread(() -> Stage.part(() -> {
                InterProcessMutex lock = new InterProcessMutex(mine, ROOT + "/mutex");
                for (int turn = 0; turn < 5; turn++) {
                    Stage.that(lock.acquire(30, TimeUnit.SECONDS));
                    Stage.same(1, inside.incrementAndGet());
                    turns.incrementAndGet();
                    inside.decrementAndGet();
                    lock.release();
                }
            }));
            worker.start();
            workers.add(worker);
        }
        for (Thread worker : workers) {
            worker.join();
        }
        Stage.same(25, turns.get());
        CuratorFramework dying = another();
        InterProcessMutex held = new InterProcessMutex(dying, ROOT + "/mutex");
        held.acquire();
        InterProcessMutex waiting = new InterProcessMutex(curator, ROOT + "/mutex");
        Stage.that(!waiting.acquire(200, TimeUnit.MILLISECONDS));
        dying.close();
        Stage.that(waiting.acquire(10, TimeUnit.SECONDS));
        waiting.release();
    }

    static void readWriteLock() throws Exception {
        InterProcessReadWriteLock one = new InterProcessReadWriteLock(curator, ROOT + "/rw");
        InterProcessReadWriteLock two = new InterProcessReadWriteLock(another(), ROOT + "/rw");
        one.readLock().acquire();
        Stage.that(two.readLock().acquire(5, TimeUnit.SECONDS));
        two.readLock().release();
        Stage.that(!two.writeLock().acquire(200, TimeUnit.MILLISECONDS));
        one.readLock().release();
        Stage.that(two.writeLock().acquire(5, TimeUnit.SECONDS));
        Stage.that(two.readLock().acquire(5, TimeUnit.SECONDS));
        two.writeLock().release();
        Stage.that(one.readLock().acquire(5, TimeUnit.SECONDS));
        one.readLock().release();
        two.readLock().release();
    }

    static void semaphore() throws Exception {
        InterProcessSemaphoreV2 one = new InterProcessSemaphoreV2(curator, ROOT + "/semaphore", 2);
        InterProcessSemaphoreV2 two = new InterProcessSemaphoreV2(another(), ROOT + "/semaphore", 2);
        var first = one.acquire();
        var second = two.acquire(5, TimeUnit.SECONDS);
        Stage.that(second != null && two.acquire(200, TimeUnit.MILLISECONDS) == null);
        one.returnLease(first);
        var third = two.acquire(5, TimeUnit.SECONDS);
        Stage.that(third != null);
        two.returnLease(second);
        two.returnLease(third);
    }

    static void leaderLatch() throws Exception {
        List<LeaderLatch> latches = new ArrayList<>();
        for (int number = 0; number < 3; number++) {
            latches.add(new LeaderLatch(another(), ROOT + "/latch", "candidate-" + number));
            latches.get(number).start();
        }
        for (int left = 3; left > 0; left--) {
            Stage.until(() -> latches.stream().filter(LeaderLatch::hasLeadership).count() == 1);
            LeaderLatch leader = latches.stream().filter(LeaderLatch::hasLeadership).findFirst().get();
            Stage.same(leader.getId(), latches.get(0).getLeader().getId());
            leader.close();
            latches.remove(leader);
        }
    }

    static void leaderSelector() throws Exception {
        List<String> led = Collections.synchronizedList(new ArrayList<>());
        AtomicInteger leaders = new AtomicInteger();
        List<LeaderSelector> selectors = new ArrayList<>();
        for (int number = 0; number < 3; number++) {
            String name = "candidate-" + number;
            LeaderSelector selector = new LeaderSelector(another(), ROOT + "/selector",
                new LeaderSelectorListenerAdapter() {
                    @Override
                    public void takeLeadership(CuratorFramework client) throws Exception {
                        Stage.same(1, leaders.incrementAndGet());
                        Thread.sleep(50);
                        leaders.decrementAndGet();
                        led.add(name);
                    }
                });
            selector.setId(name);
            selector.autoRequeue();
            selector.start();
            selectors.add(selector);
        }
        Stage.until(() -> led.stream().distinct().count() == 3 && led.size() >= 6);
        selectors.forEach(LeaderSelector::close);
    }

    @SuppressWarnings("deprecation")
    static void nodeCache() throws Exception {
        CuratorFramework other = to(Stage.PROXY, 20_000);
        NodeCache cache = new NodeCache(other, ROOT + "/node-cache");
        cache.start(true);
        Stage.same(null, cache.getCurrentData());
        curator.create().forPath(ROOT + "/node-cache", Stage.bytes("1"));
        Stage.until(() -> cache.getCurrentData() != null);
        Stage.ask("hold");
        curator.setData().forPath(ROOT + "/node-cache", Stage.bytes("2"));
        Stage.ask("release");
        Stage.until(() -> new String(cache.getCurrentData().getData()).equals("2"));
        curator.delete().forPath(ROOT + "/node-cache");
        Stage.until(() -> cache.getCurrentData() == null);
        cache.close();
    }

    static void curatorCache() throws Exception {
        String base = ROOT + "/cache";
        CuratorFramework other = to(Stage.PROXY, 20_000);
        CuratorCache cache = CuratorCache.build(other, base);
        List<String> told = Collections.synchronizedList(new ArrayList<>());
        cache.listenable().addListener(CuratorCacheListener.builder()
            .forCreates(node -> told.add("+" + node.getPath().substring(base.length())))
            .forChanges((old, node) -> told.add("=" + node.getPath().substring(base.length())))
            .forDeletes(node -> told.add("-" + node.getPath().substring(base.length()))).build());
        cache.start();
        curator.create().forPath(base);
        curator.create().forPath(base + "/a");
        Stage.until(() -> told.equals(List.of("+", "+/a")));
        curator.create().forPath(base + "/a/b");
        curator.setData().forPath(base + "/a/b", Stage.bytes("1"));
        Stage.until(() -> cache.get(base + "/a/b").map(node -> new String(node.getData()).equals("1")).orElse(false));
        Stage.ask("hold");
        curator.setData().forPath(base + "/a/b", Stage.bytes("2"));
        curator.create().forPath(base + "/a/c");
        Stage.ask("release");
        Stage.until(() -> told.contains("+/a/c"));
        Stage.until(() -> cache.get(base + "/a/b").map(node -> new String(node.getData()).equals("2")).orElse(false));
        curator.delete().deletingChildrenIfNeeded().forPath(base);
        Stage.until(() -> told.contains("-") && cache.size() == 0);
        cache.close();
    }

    @SuppressWarnings("deprecation")
    static void treeCache() throws Exception {
        String base = ROOT + "/tree";
        curator.create().creatingParentsIfNeeded().forPath(base + "/x/y", Stage.bytes("0"));
        TreeCache cache = TreeCache.newBuilder(to(Stage.PROXY, 20_000), base).build();
        cache.start();
        Stage.until(() -> cache.getCurrentData(base + "/x/y") != null);
        Stage.ask("hold");
        curator.setData().forPath(base + "/x/y", Stage.bytes("1"));
        curator.create().forPath(base + "/x/z");
        Stage.ask("release");
        Stage.until(() -> cache.getCurrentData(base + "/x/z") != null
            && new String(cache.getCurrentData(base + "/x/y").getData()).equals("1"));
        cache.close();
    }

    static void persistentTtlNode() throws Exception {
        String path = ROOT + "/ttl-node";
        PersistentTtlNode node = new PersistentTtlNode(curator, path, 1500, Stage.bytes("alive"));
        node.start();
        Stage.that(node.waitForInitialCreate(10, TimeUnit.SECONDS));
        Thread.sleep(3500);
        Stage.same(Stage.bytes("alive"), curator.getData().forPath(path));
        node.close();
        Stage.until(() -> curator.checkExists().forPath(path) == null);
        String plain = ROOT + "/ttl-create";
        curator.create().withTtl(300).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath(plain);
        Stage.until(() -> curator.checkExists().forPath(plain) == null);
    }

    static void persistentNode() throws Exception {
        String path = ROOT + "/persistent-node";
        CuratorFramework other = to(Stage.PROXY, 1500);
        PersistentNode node = new PersistentNode(other, CreateMode.EPHEMERAL, false, path, Stage.bytes("here"));
        node.start();
        Stage.that(node.waitForInitialCreate(10, TimeUnit.SECONDS));
        long first = curator.checkExists().forPath(path).getEphemeralOwner();
        Stage.ask("hold");
        Stage.until(() -> curator.checkExists().forPath(path) == null);
        Stage.ask("release");
        Stage.until(() -> curator.checkExists().forPath(path) != null);
        Stage.that(curator.checkExists().forPath(path).getEphemeralOwner() != first);
        node.close();
    }

    static void transactions() throws Exception {
        String base = ROOT + "/transactions";
        List<CuratorTransactionResult> results = curator.transaction().forOperations(
            curator.transactionOp().create().forPath(base, Stage.bytes("0")),
            curator.transactionOp().create().withMode(CreateMode.PERSISTENT_SEQUENTIAL).forPath(base + "/s-"),
            curator.transactionOp().setData().withVersion(0).forPath(base, Stage.bytes("1")),
            curator.transactionOp().check().withVersion(1).forPath(base));
        Stage.same(base + "/s-0000000000", results.get(1).getResultPath());
        Stage.same(1, results.get(2).getResultStat().getVersion());
        Stage.fails(KeeperException.NodeExistsException.class, () -> curator.transaction().forOperations(
            curator.transactionOp().setData().forPath(base, Stage.bytes("2")),
            curator.transactionOp().create().forPath(base)));
        Stage.same(Stage.bytes("1"), curator.getData().forPath(base));
    }

    static void sharedCounter() throws Exception {
        SharedCount one = new SharedCount(curator, ROOT + "/count", 7);
        SharedCount two = new SharedCount(another(), ROOT + "/count", 7);
        one.start();
        two.start();
        VersionedValue<Integer> stale = one.getVersionedValue();
        Stage.that(one.trySetCount(stale, 8));
        Stage.until(() -> two.getCount() == 8);
        Stage.that(!one.trySetCount(stale, 9));
        one.close();
        two.close();
    }

    static void atomicLong() throws Exception {
        List<Thread> workers = new ArrayList<>();
        for (int number = 0; number < 3; number++) {
            DistributedAtomicLong mine = new DistributedAtomicLong(another(), ROOT + "/long", new RetryForever(5));
            Thread worker = new Thread(() -> Stage.part(() -> {
                for (int turn = 0; turn < 20; turn++) {
                    Stage.that(mine.increment().succeeded());
                }
            }));
            worker.start();
            workers.add(worker);
        }
        for (Thread worker : workers) {
            worker.join();
        }
        Stage.same(60L, new DistributedAtomicLong(curator, ROOT + "/long", new RetryForever(5)).get().postValue());
    }

    static void barriers() throws Exception {
        DistributedBarrier barrier = new DistributedBarrier(curator, ROOT + "/barrier");
        barrier.setBarrier();
        DistributedBarrier other = new DistributedBarrier(another(), ROOT + "/barrier");
        Stage.that(!other.waitOnBarrier(200, TimeUnit.MILLISECONDS));
        barrier.removeBarrier();
        Stage.that(other.waitOnBarrier(10, TimeUnit.SECONDS));
        CountDownLatch entered = new CountDownLatch(2);
        CountDownLatch left = new CountDownLatch(2);
        for (int number = 0; number < 2; number++) {
            DistributedDoubleBarrier both = new DistributedDoubleBarrier(another(), ROOT + "/double", 2);
            new Thread(() -> Stage.part(() -> {
                both.enter();
                entered.countDown();
                both.leave();
                left.countDown();
            })).start();
        }
        Stage.that(entered.await(20, TimeUnit.SECONDS) && left.await(20, TimeUnit.SECONDS));
    }

    static void groupMembership() throws Exception {
        CuratorFramework other = another();
        GroupMember one = new GroupMember(curator, ROOT + "/group", "one", Stage.bytes("1"));
        GroupMember two = new GroupMember(other, ROOT + "/group", "two", Stage.bytes("2"));
        one.start();
        two.start();
        Stage.until(() -> one.getCurrentMembers().size() == 2 && two.getCurrentMembers().size() == 2);
        Stage.same(Stage.bytes("2"), one.getCurrentMembers().get("two"));
        other.close();
        Stage.until(() -> one.getCurrentMembers().size() == 1);
        one.close();
    }

    static void queue() throws Exception {
        SimpleDistributedQueue put = new SimpleDistributedQueue(curator, ROOT + "/queue");
        SimpleDistributedQueue take = new SimpleDistributedQueue(another(), ROOT + "/queue");
        for (int number = 0; number < 5; number++) {
            Stage.that(put.offer(Stage.bytes("" + number)));
        }
        for (int number = 0; number < 5; number++) {
            Stage.same(Stage.bytes("" + number), take.poll(5, TimeUnit.SECONDS));
        }
        Stage.same(null, take.poll(100, TimeUnit.MILLISECONDS));
    }

    static void persistentWatcher() throws Exception {
        String base = ROOT + "/watched";
        curator.create().forPath(base);
        List<String> told = Collections.synchronizedList(new ArrayList<>());
        CountDownLatch reset = new CountDownLatch(1);
        PersistentWatcher watcher = new PersistentWatcher(to(Stage.PROXY, 20_000), base, true);
        watcher.getResetListenable().addListener(reset::countDown);
        watcher.getListenable().addListener(event -> {
            if (event.getPath() != null) {
                told.add(event.getType() + " " + event.getPath().substring(base.length()));
            }
        });
        watcher.start();
        Stage.that(reset.await(10, TimeUnit.SECONDS));
        curator.create().forPath(base + "/a");
        Stage.until(() -> told.equals(List.of("NodeCreated /a")));
        Stage.ask("cut");
        Stage.until(() -> {
            curator.setData().forPath(base + "/a", new byte[0]);
            return told.contains("NodeDataChanged /a");
        });
        watcher.close();
    }

    /** A protected create whose reply is lost finds its own node again instead of making a second. */
    static void protectedCreate() throws Exception {
        String base = ROOT + "/protected";
        curator.create().forPath(base);
        CuratorFramework other = to(Stage.PROXY, 20_000);
        AtomicReference<Throwable> failure = new AtomicReference<>();
        Thread creating = new Thread(() -> {
            try {
                for (int number = 0; number < 200; number++) {
                    other.create().withProtection().withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath(base + "/n-");
                }
            } catch (Throwable thrown) {
                failure.set(thrown);
            }
        });
        creating.start();
        for (int cut = 0; cut < 3; cut++) {
            Thread.sleep(30);
            Stage.ask("cut");
        }
        creating.join();
        Stage.same(null, failure.get());
        Stat stat = curator.checkExists().forPath(base);
        Stage.same(200, stat.getNumChildren());
    }
}
