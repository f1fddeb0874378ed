import java.io.BufferedReader;
import java.io.FileWriter;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/**
 * The Java client's part of the load: sessions that write registers, counters, pairs, sequential nodes and ephemerals.
 *
 * Arguments: hosts, session timeout in ms, first name, how many clients, history file, pause between operations in ms.
 * A line of history is what tests/mixed/history.rs reads. "quiet" on standard input ends the operations, not the
 * sessions; "end" closes those. Both are answered by the same word.
 */
final class Load extends Thread {
    private static volatile boolean quiet;
    private static PrintWriter out;
    private static String hosts;
    private static int timeout;
    private static int pause;

    /** What a successful operation tells. */
    private record Told(String path, String value, long zxid, int version) {}

    private interface Call {
        Told run() throws KeeperException, InterruptedException;
    }

    private final String name;
    private final Random random;
    private int count;
    private ZooKeeper zk;
    private long session;
    private final ArrayDeque<String> sequentials = new ArrayDeque<>();
    private final ArrayDeque<String> ephemerals = new ArrayDeque<>();

    private Load(String name) {
        this.name = name;
        this.random = new Random(name.hashCode());
        setDaemon(true);
    }

    public static void main(String[] arguments) throws Exception {
        hosts = arguments[0];
        timeout = Integer.parseInt(arguments[1]);
        out = new PrintWriter(new FileWriter(arguments[4]));
        pause = Integer.parseInt(arguments[5]);
        List<Load> all = new ArrayList<>();
        for (int number = 0; number < Integer.parseInt(arguments[3]); number++) {
            all.add(new Load(arguments[2] + number));
        }
        all.forEach(Thread::start);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            if (line.equals("quiet")) {
                quiet = true;
                for (Load load : all) {
                    load.join();
                }
            } else if (line.equals("end")) {
                for (Load load : all) {
                    load.finish();
                }
            }
            synchronized (out) {
                out.flush();
            }
            System.out.println(line);
            if (line.equals("end")) {
                break;
            }
        }
        Runtime.getRuntime().halt(0);
    }

    private static long now() {
        Instant now = Instant.now();
        return now.getEpochSecond() * 1_000_000 + now.getNano() / 1000;
    }

    private void write(String op, String path, String value, int expected, long begun, String outcome, long zxid, int version) {
        synchronized (out) {
            out.println(String.join(" ", name, Long.toString(session), op, path.isEmpty() ? "-" : path,
                value.isEmpty() ? "-" : value, Integer.toString(expected), Long.toString(begun), Long.toString(now()),
                outcome, Long.toString(zxid), "0", Integer.toString(version)));
        }
    }

    /** Makes the call and writes what came of it; gives what it told, or null. */
    private Told note(String op, String path, String value, int expected, Call call) throws InterruptedException {
        long begun = now();
        try {
            Told told = call.run();
            write(op, told.path, told.value, expected, begun, "ok", told.zxid, told.version);
            return told;
        } catch (KeeperException.SessionExpiredException error) {
            write(op, path, value, expected, begun, "unknown", 0, -1);
            expired();
        } catch (KeeperException.ConnectionLossException | KeeperException.SessionMovedException
                | KeeperException.OperationTimeoutException error) {
            write(op, path, value, expected, begun, "unknown", 0, -1);
        } catch (KeeperException error) {
            write(op, path, value, expected, begun, Integer.toString(error.code().intValue()), 0, -1);
        }
        return null;
    }

    private void expired() throws InterruptedException {
        write("expired", "", "", -1, now(), "unknown", 0, -1);
        ephemerals.clear();
        zk.close();
        connect();
    }

    private void connect() throws InterruptedException {
        while (true) {
            CountDownLatch connected = new CountDownLatch(1);
            try {
                zk = new ZooKeeper(hosts, timeout, event -> {
                    if (event.getState() == KeeperState.SyncConnected) {
                        connected.countDown();
                    }
                });
                connected.await();
                session = zk.getSessionId();
                write("open", "", "", -1, now(), "ok", 0, zk.getSessionTimeout());
                return;
            } catch (java.io.IOException error) {
                Thread.sleep(100);
            }
        }
    }

    private String value() {
        return name + "." + ++count;
    }

    private void set(String path, String value, int expected) throws InterruptedException {
        note("set", path, value, expected, () -> {
            Stat stat = zk.setData(path, value.getBytes(), expected);
            return new Told(path, value, stat.getMzxid(), stat.getVersion());
        });
    }

    private Told get(String path, boolean synced) throws InterruptedException {
        return note(synced ? "syncget" : "get", path, "", -1, () -> {
            if (synced) {
                sync(path);
            }
            Stat stat = new Stat();
            byte[] data = zk.getData(path, false, stat);
            return new Told(path, new String(data), stat.getMzxid(), stat.getVersion());
        });
    }

    private void sync(String path) throws KeeperException, InterruptedException {
        int[] code = new int[1];
        CountDownLatch done = new CountDownLatch(1);
        zk.sync(path, (rc, node, context) -> {
            code[0] = rc;
            done.countDown();
        }, null);
        done.await();
        if (code[0] != 0) {
            throw KeeperException.create(KeeperException.Code.get(code[0]), path);
        }
    }

    private Told create(String op, String path, String value, CreateMode mode) throws InterruptedException {
        return note(op, path, value, -1, () -> {
            Stat stat = new Stat();
            String made = zk.create(path, value.getBytes(), Ids.OPEN_ACL_UNSAFE, mode, stat);
            return new Told(made, value, stat.getCzxid(), 0);
        });
    }

    private void delete(String path) throws InterruptedException {
        note("delete", path, "", -1, () -> {
            zk.delete(path, -1);
            return new Told(path, "", 0, -1);
        });
    }

    private void pair(String base, String value) throws InterruptedException {
        note("pair", base, value, -1, () -> {
            List<OpResult> results = zk.multi(List.of(
                Op.setData(base + "/left", value.getBytes(), -1), Op.setData(base + "/right", value.getBytes(), -1)));
            Stat left = ((OpResult.SetDataResult) results.get(0)).getStat();
            Stat right = ((OpResult.SetDataResult) results.get(1)).getStat();
            return new Told(base, value, left.getMzxid(), left.getVersion() == right.getVersion() ? left.getVersion() : -2);
        });
    }

    private void pairRead(String base) throws InterruptedException {
        note("pairread", base, "", -1, () -> {
            List<OpResult> results = zk.multi(List.of(Op.getData(base + "/left"), Op.getData(base + "/right")));
            OpResult.GetDataResult left = (OpResult.GetDataResult) results.get(0);
            OpResult.GetDataResult right = (OpResult.GetDataResult) results.get(1);
            boolean same = left.getStat().getVersion() == right.getStat().getVersion()
                && java.util.Arrays.equals(left.getData(), right.getData());
            return new Told(base, new String(left.getData()), left.getStat().getMzxid(), same ? left.getStat().getVersion() : -2);
        });
    }

    private void one() throws InterruptedException {
        double kind = random.nextDouble();
        int key = random.nextInt(4);
        if (kind < 0.3) {
            set("/load/reg/" + key, value(), -1);
        } else if (kind < 0.5) {
            Told got = get("/load/counter/" + key % 2, false);
            if (got != null) {
                set("/load/counter/" + key % 2, (got.version + 1) + "." + value(), got.version);
            }
        } else if (kind < 0.55) {
            get("/load/reg/" + key, false);
        } else if (kind < 0.65) {
            get("/load/reg/" + key, true);
        } else if (kind < 0.75) {
            pair("/load/pair/" + key % 2, value());
        } else if (kind < 0.8) {
            pairRead("/load/pair/" + key % 2);
        } else if (kind < 0.93) {
            Told made = create("sequential", "/load/seq/s-", value(), CreateMode.PERSISTENT_SEQUENTIAL);
            if (made != null) {
                sequentials.add(made.path);
            }
            if (sequentials.size() > 20) {
                delete(sequentials.remove());
            }
        } else if (ephemerals.size() < 4) {
            String path = "/load/eph/" + value();
            if (create("ephemeral", path, "e", CreateMode.EPHEMERAL) != null) {
                ephemerals.add(path);
            }
        } else {
            delete(ephemerals.remove());
        }
    }

    @Override
    public void run() {
        try {
            connect();
            while (!quiet) {
                one();
                Thread.sleep(pause);
            }
        } catch (Throwable failure) {
            failure.printStackTrace();
            Runtime.getRuntime().halt(1);
        }
    }

    private void finish() throws InterruptedException {
        long begun = now();
        // The client tells no outcome of its close.
        zk.close();
        write("close", "", "", -1, begun, "unknown", 0, -1);
    }
}
