package interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.etcd.jetcd.Client;
import io.etcd.jetcd.Watch;
import io.etcd.jetcd.common.exception.CompactedException;
import io.etcd.jetcd.op.Cmp;
import io.etcd.jetcd.op.CmpTarget;
import io.etcd.jetcd.op.Op;
import io.etcd.jetcd.options.PutOption;
import io.etcd.jetcd.options.WatchOption;
import io.etcd.jetcd.watch.WatchEvent;
import io.etcd.jetcd.watch.WatchResponse;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Watches: what is told, and that nothing is lost over a restart of the server. */
class WatchTest extends Bench {
    private String show(WatchEvent event) {
        var before = event.getPrevKV();
        return event.getEventType()
                + " "
                + name(event.getKeyValue().getKey())
                + "="
                + text(event.getKeyValue().getValue())
                + (before != null && before.getVersion() != 0 ? " before " + text(before.getValue()) : "");
    }

    /** Watches, and returns where the events come; the watch is there on return. */
    private List<String> told(Client client, String name, WatchOption.Builder options) throws Exception {
        var texts = new CopyOnWriteArrayList<String>();
        watch(client, name, options, texts);
        return texts;
    }

    private Watch.Watcher watch(Client client, String name, WatchOption.Builder options, List<String> texts)
            throws Exception {
        var created = new CompletableFuture<Void>();
        var watcher =
                client.getWatchClient()
                        .watch(
                                key(name),
                                options.withCreateNotify(true).build(),
                                response -> {
                                    if (response.isCreatedNotify()) {
                                        created.complete(null);
                                    }
                                    response.getEvents().forEach(event -> texts.add(show(event)));
                                });
        get(created);
        return watcher;
    }

    @Test
    void events() throws Exception {
        var kv = client.getKVClient();
        var everything = told(client, "", WatchOption.builder().isPrefix(true).withPrevKV(true));
        var deletes = told(client, "a", WatchOption.builder().withNoPut(true));
        var first = get(kv.put(key("a"), bytes("1"))).getHeader().getRevision();
        get(kv.put(key("b"), bytes("1")));
        get(kv.put(key("a"), bytes("2")));
        get(kv.delete(key("a")));
        var past = told(client, "a", WatchOption.builder().withRevision(first));
        until("all is told", () -> everything.size() == 4 && deletes.size() == 1 && past.size() == 3);
        assertEquals(List.of("PUT a=1", "PUT b=1", "PUT a=2 before 1", "DELETE a= before 2"), everything);
        assertEquals(List.of("DELETE a="), deletes);
        assertEquals(List.of("PUT a=1", "PUT a=2", "DELETE a="), past);
    }

    @Test
    void closedWatchesAreSilent() throws Exception {
        var silent = new CopyOnWriteArrayList<String>();
        watch(client, "k", WatchOption.builder(), silent).close();
        var goesOn = told(client, "k", WatchOption.builder());
        get(client.getKVClient().put(key("k"), bytes("1")));
        until("the other watch is told", () -> goesOn.size() == 1);
        assertEquals(List.of(), silent);
    }

    @Test
    void manyWatches() throws Exception {
        var watches = new ArrayList<List<String>>();
        for (int n = 0; n < 200; n++) {
            watches.add(told(client, "" + n, WatchOption.builder()));
        }
        for (int n = 199; n >= 0; n--) {
            get(client.getKVClient().put(key("" + n), bytes("v")));
        }
        until("all are told", () -> watches.stream().allMatch(texts -> texts.size() == 1));
        for (int n = 0; n < 200; n++) {
            assertEquals(List.of("PUT " + n + "=v"), watches.get(n));
        }
    }

    @Test
    void progressIsToldWhenAsked() throws Exception {
        var progress = new CompletableFuture<Long>();
        var created = new CompletableFuture<Void>();
        client.getWatchClient()
                .watch(
                        key("k"),
                        WatchOption.builder().withCreateNotify(true).withProgressNotify(true).build(),
                        response -> {
                            if (response.isProgressNotify()) {
                                progress.complete(response.getHeader().getRevision());
                            } else if (response.isCreatedNotify()) {
                                created.complete(null);
                            }
                        });
        get(created);
        var revision = get(client.getKVClient().put(key("other"), bytes("1"))).getHeader().getRevision();
        client.getWatchClient().requestProgress();
        assertEquals(revision, get(progress));
    }

    @Test
    void belowTheCompaction() throws Exception {
        var kv = client.getKVClient();
        get(kv.put(key("k"), bytes("1")));
        var second = get(kv.put(key("k"), bytes("2"))).getHeader().getRevision();
        get(kv.compact(second));
        var ended = new CompletableFuture<Throwable>();
        client.getWatchClient()
                .watch(
                        key("k"),
                        WatchOption.builder().withRevision(second - 1).build(),
                        Watch.listener(response -> {}, ended::complete));
        var compacted = assertInstanceOf(CompactedException.class, get(ended));
        assertEquals(second, compacted.getCompactedRevision());
    }

    /** Puts a key that is not there, however often it has to be tried. */
    private void putOnce(Client client, String name) throws Exception {
        until(
                "key " + name + " is put",
                () -> {
                    try {
                        get(
                                client.getKVClient()
                                        .txn()
                                        .If(new Cmp(key(name), Cmp.Op.EQUAL, CmpTarget.createRevision(0)))
                                        .Then(Op.put(key(name), bytes("v"), PutOption.DEFAULT))
                                        .commit());
                        return true;
                    } catch (ExecutionException away) {
                        return false;
                    }
                });
    }

    /**
     * Follows a prefix over breaks of the connection.
     *
     * <p>jetcd resumes by itself, but from the revision at which it last heard that its watch is
     * there: if the connection breaks again before it has caught up, what it had not been told by
     * then is lost. So each break ends the watch, and another begins after the last event.
     */
    private final class Follower implements Watch.Listener {
        final List<Long> revisions = new CopyOnWriteArrayList<>();
        final List<String> names = new CopyOnWriteArrayList<>();
        final AtomicInteger ends = new AtomicInteger();
        private final Client client;
        private volatile boolean done;
        private Watch.Watcher watcher;

        Follower(Client client) {
            this.client = client;
            begin(1);
        }

        private synchronized void begin(long revision) {
            watcher =
                    client.getWatchClient()
                            .watch(key(""), WatchOption.builder().isPrefix(true).withRevision(revision).build(), this);
        }

        synchronized void end() {
            done = true;
            watcher.close();
        }

        @Override
        public void onNext(WatchResponse response) {
            for (var event : response.getEvents()) {
                revisions.add(event.getKeyValue().getModRevision());
                names.add(name(event.getKeyValue().getKey()));
            }
        }

        @Override
        public synchronized void onError(Throwable error) {
            watcher.close();
        }

        @Override
        public void onCompleted() {
            if (!done) {
                ends.incrementAndGet();
                begin(revisions.isEmpty() ? 1 : revisions.get(revisions.size() - 1) + 1);
            }
        }
    }

    @Test
    void watchesGoOnOverRestarts() throws Exception {
        final int puts = 150;
        try (var own = Server.start();
                var writer = own.client();
                var reader = own.client()) {
            var follower = new Follower(reader);
            for (int n = 0; n < puts; n++) {
                putOnce(writer, "" + n);
                if (n % 50 == 25) {
                    own.restart();
                }
            }
            until("all is told", () -> follower.names.size() >= puts || follower.names.contains("" + (puts - 1)));
            follower.end();
            assertEquals(IntStream.range(0, puts).mapToObj(n -> "" + n).toList(), follower.names);
            var revisions = follower.revisions;
            for (int n = 1; n < puts; n++) {
                assertTrue(revisions.get(n) > revisions.get(n - 1), revisions.get(n) + " after " + revisions.get(n - 1));
            }
            assertTrue(follower.ends.get() > 0, "the connection did not break");
        }
    }
}
