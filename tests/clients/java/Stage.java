import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Callable;

/** The scenario's side of the stage. A step's name is printed only after everything in it held. */
final class Stage {
    static final String SERVER = System.getenv("ZK_SERVER");
    static final String PROXY = System.getenv("ZK_PROXY");
    private static Socket control;
    private static BufferedReader answers;

    interface Step {
        void run() throws Exception;
    }

    /** One command to the control port: cut, hold, release, stop, start or restart. */
    static synchronized void ask(String what) throws Exception {
        if (control == null) {
            String[] address = System.getenv("ZK_CONTROL").split(":");
            control = new Socket(address[0], Integer.parseInt(address[1]));
            answers = new BufferedReader(new InputStreamReader(control.getInputStream()));
        }
        control.getOutputStream().write((what + "\n").getBytes(StandardCharsets.US_ASCII));
        same("ok", answers.readLine());
    }

    static void step(String name, Step step) {
        run(name, step, true);
    }

    /** A part of a step, in a thread of its own: silent unless it fails, and then the end of the scenario. */
    static void part(Step step) {
        run(null, step, false);
    }

    private static void run(String name, Step step, boolean say) {
        try {
            step.run();
        } catch (Throwable failure) {
            failure.printStackTrace();
            Runtime.getRuntime().halt(1);
        }
        if (say) {
            System.out.println("ok " + name);
        }
    }

    static void end() {
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    static void same(Object expected, Object found) {
        if (!java.util.Objects.deepEquals(expected, found)) {
            throw new AssertionError("expected " + expected + ", found " + found);
        }
    }

    static void that(boolean holds) {
        if (!holds) {
            throw new AssertionError("does not hold");
        }
    }

    /** Waits for a condition that another thread or the server brings about. */
    static void until(Callable<Boolean> holds) throws Exception {
        long end = System.nanoTime() + 20_000_000_000L;
        while (!holds.call()) {
            if (System.nanoTime() > end) {
                throw new AssertionError("waited in vain");
            }
            Thread.sleep(20);
        }
    }

    /** The very exception class, not one of its parents. */
    static <E extends Throwable> E fails(Class<E> expected, Step step) {
        try {
            step.run();
        } catch (Throwable failure) {
            if (failure.getClass() == expected) {
                return expected.cast(failure);
            }
            throw new AssertionError("instead of " + expected, failure);
        }
        throw new AssertionError("no " + expected);
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
