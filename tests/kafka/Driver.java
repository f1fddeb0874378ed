// One JVM that does what the test asks, step by step: a line on standard input is a command, its words separated by
// tabs; a line on standard output answers it, `ok` or `failed`, then a tab and text in which line ends are written \n.
// Kafka's own command line tools run in here too (`tool`), each as its main method, so that no JVM starts for each.

import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.DescribeTopicsOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.Exit;

public class Driver {
    static final PrintStream ANSWERS = System.out;
    static final long LIMIT_S = 90;

    static String brokers;
    static Admin admin;
    static KafkaProducer<String, String> producer;
    static final Map<String, CompletableFuture<String>> producing = new HashMap<>();

    public static void main(String[] args) throws Exception {
        brokers = args[0];
        // What Kafka's tools print is theirs; what the answers are written to is not.
        System.setOut(System.err);
        admin = Admin.create(common());
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String line; (line = in.readLine()) != null; ) {
            String answer;
            try {
                answer = "ok\t" + run(line.split("\t"));
            } catch (Throwable error) {
                Throwable cause = error.getCause() == null ? error : error.getCause();
                answer = "failed\t" + cause.getClass().getSimpleName() + ": " + cause.getMessage();
            }
            ANSWERS.println(answer.stripTrailing().replace("\\", "\\\\").replace("\n", "\\n").replace("\r", ""));
            ANSWERS.flush();
        }
        Runtime.getRuntime().halt(0);
    }

    static Properties common() {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", brokers);
        properties.put("default.api.timeout.ms", "60000");
        properties.put("request.timeout.ms", "15000");
        properties.put("reconnect.backoff.max.ms", "200");
        return properties;
    }

    static String run(String[] words) throws Exception {
        switch (words[0]) {
            case "create": return create(words[1], number(words[2]), number(words[3]), number(words[4]));
            case "config": return config(words[1], words[2], words[3]);
            case "partitions": return partitions(words[1], number(words[2]));
            case "scram": return scram(words[1], words[2]);
            case "delete": return delete(words[1]);
            case "produce": return produce(words[1], words[2], number(words[3]), number(words[4]), number(words[5]));
            case "produced": return producing.remove(words[1]).get(LIMIT_S, TimeUnit.SECONDS);
            case "consume": return consume(words[1], number(words[2]));
            case "write-as": return writeAs(words[1], words[2], words[3], words[4]);
            case "leaders": return leaders(words.length > 1 ? words[1] : null);
            case "controller": return "" + admin.describeCluster().controller().get(LIMIT_S, TimeUnit.SECONDS).id();
            case "tool": return tool(words[1], Arrays.copyOfRange(words, 2, words.length));
            default: throw new IllegalArgumentException("no such command: " + words[0]);
        }
    }

    static int number(String word) {
        return Integer.parseInt(word);
    }

    /// So many topics at once, `NAME` or `NAME-0`, `NAME-1` ...
    static String create(String name, int topics, int partitions, int replicas) throws Exception {
        List<NewTopic> wanted = new ArrayList<>();
        for (int index = 0; index < topics; index++) {
            wanted.add(new NewTopic(topics == 1 ? name : name + "-" + index, partitions, (short) replicas));
        }
        admin.createTopics(wanted).all().get(LIMIT_S, TimeUnit.SECONDS);
        return "";
    }

    static String config(String topic, String key, String value) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Collection<AlterConfigOp> change =
            List.of(new AlterConfigOp(new ConfigEntry(key, value), AlterConfigOp.OpType.SET));
        admin.incrementalAlterConfigs(Map.of(resource, change)).all().get(LIMIT_S, TimeUnit.SECONDS);
        return "";
    }

    static String partitions(String topic, int count) throws Exception {
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(count))).all().get(LIMIT_S, TimeUnit.SECONDS);
        return "";
    }

    static String scram(String user, String password) throws Exception {
        ScramCredentialInfo info = new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096);
        admin.alterUserScramCredentials(List.of(new UserScramCredentialUpsertion(user, info, password)))
            .all().get(LIMIT_S, TimeUnit.SECONDS);
        return "";
    }

    static String delete(String topic) throws Exception {
        admin.deleteTopics(List.of(topic)).all().get(LIMIT_S, TimeUnit.SECONDS);
        return "";
    }

    /// One producer for all: a producer whose very first batches meet a change of leaders may be refused for ever, as a
    /// later batch can become its first one at the new leader; that is between Kafka's producers and brokers.
    static KafkaProducer<String, String> producer() {
        if (producer == null) {
            Properties properties = common();
            properties.put("acks", "all");
            properties.put("linger.ms", "5");
            properties.put("delivery.timeout.ms", "80000");
            producer = new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer());
        }
        return producer;
    }

    /// Starts to send the records FROM to FROM + COUNT - 1 with acks=all, so many a second (0: as fast as it goes).
    static String produce(String id, String topic, int from, int count, int rate) {
        CompletableFuture<String> end = new CompletableFuture<>();
        producing.put(id, end);
        KafkaProducer<String, String> producer = producer();
        Thread thread = new Thread(() -> {
            AtomicInteger acknowledged = new AtomicInteger();
            AtomicReference<Exception> failure = new AtomicReference<>();
            try {
                long since = System.nanoTime();
                for (int index = 0; index < count; index++) {
                    String text = "" + (from + index);
                    producer.send(new ProducerRecord<>(topic, text, text), (metadata, error) -> {
                        if (error == null) acknowledged.incrementAndGet();
                        else failure.compareAndSet(null, error);
                    });
                    if (rate > 0 && index % 50 == 49) {
                        long due = since + (index + 1) * 1_000_000_000L / rate;
                        TimeUnit.NANOSECONDS.sleep(due - System.nanoTime());
                    }
                }
                producer.flush();
                if (failure.get() != null) throw failure.get();
                end.complete("" + acknowledged.get());
            } catch (Throwable error) {
                end.completeExceptionally(error);
            }
        });
        thread.setDaemon(true);
        thread.start();
        return "";
    }

    /// Reads a topic from its beginning to its end: which of the records 0 to COUNT - 1 are missing, and how many came
    /// twice.
    static String consume(String topic, int count) throws Exception {
        Properties properties = common();
        properties.put("enable.auto.commit", "false");
        BitSet seen = new BitSet(count);
        int twice = 0;
        try (KafkaConsumer<String, String> consumer =
                 new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer())) {
            List<TopicPartition> all = new ArrayList<>();
            for (PartitionInfo info : known(consumer, topic)) all.add(new TopicPartition(topic, info.partition()));
            Map<TopicPartition, Long> ends = consumer.endOffsets(all);
            long rest = ends.values().stream().mapToLong(Long::longValue).sum();
            consumer.assign(all);
            consumer.seekToBeginning(all);
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(LIMIT_S);
            while (rest > 0) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    int value = Integer.parseInt(record.value());
                    if (seen.get(value)) twice++;
                    seen.set(value);
                    rest--;
                }
                if (System.nanoTime() > deadline) throw new IllegalStateException(rest + " records did not come");
            }
        }
        int missing = count - seen.get(0, count).cardinality();
        return "missing " + missing + ", twice " + twice + ", strange " + (seen.cardinality() - count + missing);
    }

    /// A broker that has just started may not have been told of the topic yet.
    static List<PartitionInfo> known(KafkaConsumer<?, ?> consumer, String topic) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(LIMIT_S);
        List<PartitionInfo> found;
        while ((found = consumer.partitionsFor(topic)) == null || found.isEmpty()) {
            if (System.nanoTime() > deadline) throw new IllegalStateException("nobody knows " + topic);
            Thread.sleep(50);
        }
        return found;
    }

    /// One record by somebody who logs in at another listener.
    static String writeAs(String user, String password, String listener, String topic) throws Exception {
        Properties properties = common();
        properties.put("bootstrap.servers", listener);
        properties.put("security.protocol", "SASL_PLAINTEXT");
        properties.put("sasl.mechanism", "SCRAM-SHA-256");
        properties.put("sasl.jaas.config", "org.apache.kafka.common.security.scram.ScramLoginModule required username=\""
            + user + "\" password=\"" + password + "\";");
        properties.put("enable.idempotence", "false");
        properties.put("max.block.ms", "15000");
        try (KafkaProducer<byte[], byte[]> producer =
                 new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer())) {
            producer.send(new ProducerRecord<>(topic, new byte[0])).get(LIMIT_S, TimeUnit.SECONDS);
        }
        return "";
    }

    /// How many partitions each broker leads (-1: nobody), and how many have all their replicas in step.
    static String leaders(String topic) throws Exception {
        Set<String> names = topic != null ? Set.of(topic) : admin.listTopics().names().get(LIMIT_S, TimeUnit.SECONDS);
        TreeMap<Integer, Integer> led = new TreeMap<>();
        int whole = 0, all = 0;
        Collection<TopicDescription> described = admin.describeTopics(names).allTopicNames().get(LIMIT_S, TimeUnit.SECONDS).values();
        for (TopicDescription description : described) {
            for (TopicPartitionInfo partition : description.partitions()) {
                int leader = partition.leader() == null ? -1 : partition.leader().id();
                led.merge(leader, 1, Integer::sum);
                all++;
                if (partition.isr().size() == partition.replicas().size()) whole++;
            }
        }
        return "leaders " + led + ", whole " + whole + " of " + all;
    }

    /// One of Kafka's tools: what it wrote, and that it ended with 0.
    static String tool(String main, String[] arguments) throws Exception {
        ByteArrayOutputStream written = new ByteArrayOutputStream();
        PrintStream to = new PrintStream(written, true, "UTF-8");
        PrintStream out = System.out, err = System.err;
        AtomicReference<Integer> status = new AtomicReference<>();
        Exit.Procedure exit = (code, message) -> {
            status.compareAndSet(null, code);
            throw new Ended();
        };
        Exit.setExitProcedure(exit);
        Exit.setHaltProcedure(exit);
        System.setOut(to);
        System.setErr(to);
        try {
            // Scala's println has a stream of its own for each thread, taken when it first asks.
            scala.Console.withOut(to, () -> {
                try {
                    Class.forName(main).getMethod("main", String[].class).invoke(null, (Object) arguments);
                } catch (ReflectiveOperationException error) {
                    if (!(error.getCause() instanceof Ended)) throw new IllegalStateException(error.getCause());
                }
                return null;
            });
        } catch (Ended end) {
            // As any tool ends.
        } finally {
            System.setOut(out);
            System.setErr(err);
            Exit.resetExitProcedure();
            Exit.resetHaltProcedure();
        }
        int code = Optional.ofNullable(status.get()).orElse(0);
        if (code != 0) throw new IllegalStateException(main + " ended with " + code + ":\n" + written.toString("UTF-8"));
        return written.toString("UTF-8");
    }

    /// What a tool gets instead of the end of the process.
    static class Ended extends Error {
    }
}
