package interop;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.options.GetOption;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.TestInfo;

/** What the tests have in common: a server for each class, clients, keys of their own, waiting. */
abstract class Bench {
    static final Duration WAIT = Duration.ofSeconds(20);

    static Server shared;

    Client client;
    private String prefix;

    @BeforeAll
    static void startServer() throws Exception {
        shared = Server.start();
    }

    @AfterAll
    static void endServer() throws Exception {
        shared.close();
    }

    @BeforeEach
    void connect(TestInfo test) {
        prefix = test.getTestMethod().orElseThrow().getName() + "/";
        client = shared.client();
    }

    @AfterEach
    void disconnect() {
        client.close();
    }

    static ByteSequence bytes(String text) {
        return ByteSequence.from(text, StandardCharsets.UTF_8);
    }

    static String text(ByteSequence bytes) {
        return bytes.toString(StandardCharsets.UTF_8);
    }

    /** A key of this test. */
    ByteSequence key(String name) {
        return bytes(prefix + name);
    }

    /** The name of a key of this test. */
    String name(ByteSequence key) {
        return text(key).substring(prefix.length());
    }

    /** Waits for an answer, with a bound. */
    static <T> T get(CompletableFuture<T> answer) throws Exception {
        return answer.get(WAIT.toSeconds(), TimeUnit.SECONDS);
    }

    /** What is under a key, null if nothing. */
    static String value(Client client, ByteSequence key) throws Exception {
        var found = get(client.getKVClient().get(key, GetOption.DEFAULT)).getKvs();
        return found.isEmpty() ? null : text(found.get(0).getValue());
    }

    /** Waits for a condition, with a bound. */
    static void until(String what, Callable<Boolean> holds) throws Exception {
        var deadline = System.nanoTime() + WAIT.toNanos();
        while (!holds.call()) {
            assertTrue(System.nanoTime() < deadline, "within " + WAIT + " it did not come true that " + what);
            Thread.sleep(20);
        }
    }

    /** Checks that a call is refused with a text. */
    static void refused(String text, CompletableFuture<?> answer) throws Exception {
        try {
            fail("it was not refused: " + get(answer));
        } catch (ExecutionException failure) {
            // jetcd turns some errors into its own, and keeps what the server said as their cause.
            var said = new StringBuilder();
            for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
                said.append(cause).append('\n');
            }
            assertTrue(said.toString().contains(text), "refused with " + said + "want " + text);
        }
    }
}
