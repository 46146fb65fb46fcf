package interop;

import io.etcd.jetcd.Client;
import java.io.IOException;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * Starts, kills and watches one server process, whichever program it is.
 *
 * <p>SERVER in the environment is the program. Nothing here knows which server it is.
 */
final class Server implements AutoCloseable {
    private static final Duration START_MAX = Duration.ofSeconds(60);
    private static final Duration STOP_MAX = Duration.ofSeconds(30);

    private final HttpClient http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    private final Path program;
    private final Path folder;
    private final String url;
    private final String peer;
    private Process process;

    private Server(Path program) throws IOException {
        this.program = program;
        folder = Files.createTempDirectory("interop");
        url = "http://127.0.0.1:" + freePort();
        peer = "http://127.0.0.1:" + freePort();
    }

    static Server start() throws Exception {
        var program = System.getenv("SERVER");
        if (program == null || program.isEmpty()) {
            throw new IllegalStateException("SERVER is not set: give the path of the server to test, etcd or tenet");
        }
        var server = new Server(Path.of(program).toAbsolutePath());
        server.launch();
        return server;
    }

    /** Starts the process, again if it had been there before, and waits until it serves. */
    private void launch() throws Exception {
        var words =
                List.of(
                        program.toString(),
                        "--data-dir", folder.resolve("data").toString(),
                        "--listen-client-urls", url,
                        "--advertise-client-urls", url,
                        "--listen-peer-urls", peer,
                        "--initial-advertise-peer-urls", peer,
                        "--initial-cluster", "default=" + peer);
        process =
                new ProcessBuilder(words)
                        .redirectErrorStream(true)
                        .redirectOutput(ProcessBuilder.Redirect.appendTo(folder.resolve("log").toFile()))
                        .start();
        var deadline = System.nanoTime() + START_MAX.toNanos();
        while (!ready()) {
            if (!process.isAlive()) {
                throw new IllegalStateException("the server ended before it served: " + logTail());
            }
            if (System.nanoTime() > deadline) {
                throw new IllegalStateException("the server did not serve within " + START_MAX + ": " + logTail());
            }
            Thread.sleep(10);
        }
    }

    private boolean ready() throws InterruptedException {
        try {
            var ask = HttpRequest.newBuilder(URI.create(url + "/readyz")).timeout(Duration.ofSeconds(1)).build();
            return http.send(ask, HttpResponse.BodyHandlers.discarding()).statusCode() == 200;
        } catch (IOException notYet) {
            return false;
        }
    }

    /** Ends the process without letting it do anything more, and starts it again. */
    void restart() throws Exception {
        if (!process.isAlive()) {
            throw new IllegalStateException("the server had ended by itself: " + logTail());
        }
        process.destroyForcibly();
        if (!process.waitFor(STOP_MAX.toSeconds(), TimeUnit.SECONDS)) {
            throw new IllegalStateException("the server did not end within " + STOP_MAX);
        }
        launch();
    }

    /** A client of this server. */
    Client client() {
        return Client.builder().endpoints(url).build();
    }

    String url() {
        return url;
    }

    private String logTail() throws IOException {
        var log = Files.readString(folder.resolve("log"));
        return log.substring(Math.max(0, log.length() - 1500));
    }

    @Override
    public void close() throws Exception {
        process.destroyForcibly();
        process.waitFor(STOP_MAX.toSeconds(), TimeUnit.SECONDS);
        try (var files = Files.walk(folder)) {
            for (var file : files.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(file);
            }
        }
    }

    private static int freePort() throws IOException {
        try (var probe = new ServerSocket(0)) {
            return probe.getLocalPort();
        }
    }
}
