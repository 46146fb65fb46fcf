package interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.etcd.jetcd.Client;
import io.etcd.jetcd.Election;
import io.etcd.jetcd.election.LeaderResponse;
import io.etcd.jetcd.lease.LeaseKeepAliveResponse;
import io.etcd.jetcd.options.LeaseOption;
import io.etcd.jetcd.options.PutOption;
import io.grpc.stub.StreamObserver;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

/** Leases, locks and elections. jetcd uses the server's own services for the last two. */
class CoordinationTest extends Bench {
    /** Counts renewals and remembers the end of a keep-alive. */
    private static final class Renewals implements StreamObserver<LeaseKeepAliveResponse> {
        final AtomicInteger count = new AtomicInteger();
        final CompletableFuture<Throwable> ended = new CompletableFuture<>();

        @Override
        public void onNext(LeaseKeepAliveResponse renewed) {
            count.incrementAndGet();
        }

        @Override
        public void onError(Throwable error) {
            ended.complete(error);
        }

        @Override
        public void onCompleted() {
            ended.complete(null);
        }
    }

    private static long grant(Client client, long seconds) throws Exception {
        return get(client.getLeaseClient().grant(seconds)).getID();
    }

    private static void putOn(Client client, io.etcd.jetcd.ByteSequence key, long lease) throws Exception {
        get(client.getKVClient().put(key, bytes("v"), PutOption.builder().withLeaseId(lease).build()));
    }

    @Test
    void keysGoWithTheirLease() throws Exception {
        var leases = client.getLeaseClient();
        var lease = grant(client, 60);
        putOn(client, key("k"), lease);
        assertEquals(60, get(leases.keepAliveOnce(lease)).getTTL());
        var left = get(leases.timeToLive(lease, LeaseOption.builder().withAttachedKeys().build()));
        assertEquals(60, left.getGrantedTTL());
        assertEquals(List.of(key("k")), left.getKeys());
        get(leases.revoke(lease));
        assertNull(value(client, key("k")));
        assertEquals(-1, get(leases.timeToLive(lease, LeaseOption.DEFAULT)).getTTL());
        refused("etcdserver: requested lease not found", leases.revoke(lease));
        refused("etcdserver: too large lease TTL", leases.grant(9_000_000_001L));
        refused("requested lease not found", leases.keepAliveOnce(lease));
    }

    @Test
    void keptAliveOverARestart() throws Exception {
        try (var own = Server.start();
                var client = own.client()) {
            var lease = grant(client, 2);
            putOn(client, key("k"), lease);
            var renewals = new Renewals();
            var keeping = client.getLeaseClient().keepAlive(lease, renewals);
            Thread.sleep(4000);
            assertEquals("v", value(client, key("k")));
            var before = renewals.count.get();
            assertTrue(before >= 3, before + " renewals in 4 s");
            own.restart();
            until("renewals go on", () -> renewals.count.get() >= before + 3);
            assertEquals("v", value(client, key("k")));
            // Each break is told as an error, which for the listener's interface is the end: it is not.
            assertTrue(renewals.ended.isDone(), "the break was not told");
            keeping.close();
            until("the lease ends when it is left alone", () -> value(client, key("k")) == null);
        }
    }

    @Test
    void aRevokedLeaseEndsItsKeepAlive() throws Exception {
        var lease = grant(client, 2);
        var renewals = new Renewals();
        client.getLeaseClient().keepAlive(lease, renewals);
        until("it is renewed", () -> renewals.count.get() > 0);
        get(client.getLeaseClient().revoke(lease));
        assertTrue(String.valueOf(get(renewals.ended)).contains("requested lease not found"), "ended with " + get(renewals.ended));
    }

    @Test
    void oneHoldsALockAtATime() throws Exception {
        var inside = new AtomicInteger();
        var entered = new AtomicInteger();
        var tasks = new ArrayList<CompletableFuture<Void>>();
        for (int n = 0; n < 5; n++) {
            tasks.add(
                    CompletableFuture.runAsync(
                            () -> {
                                try (var own = shared.client()) {
                                    var lease = grant(own, 30);
                                    for (int turn = 0; turn < 5; turn++) {
                                        var held = get(own.getLockClient().lock(key("lock"), lease)).getKey();
                                        assertEquals(1, inside.incrementAndGet());
                                        entered.incrementAndGet();
                                        Thread.sleep(2);
                                        inside.decrementAndGet();
                                        get(own.getLockClient().unlock(held));
                                    }
                                } catch (Exception failure) {
                                    throw new IllegalStateException(failure);
                                }
                            },
                            task -> new Thread(task).start()));
        }
        for (var task : tasks) {
            get(task);
        }
        assertEquals(25, entered.get());
    }

    @Test
    void aLockFollowsItsLease() throws Exception {
        var mine = grant(client, 60);
        var other = grant(client, 60);
        var held = get(client.getLockClient().lock(key("lock"), mine)).getKey();
        assertEquals("lock/" + Long.toHexString(mine), name(held));
        var waiting = client.getLockClient().lock(key("lock"), other);
        until("the other waits", () -> value(client, key("lock/" + Long.toHexString(other))) != null);
        assertFalse(waiting.isDone());
        get(client.getLeaseClient().revoke(mine));
        get(client.getLockClient().unlock(get(waiting).getKey()));
        refused("etcdserver: requested lease not found", client.getLockClient().lock(key("lock"), mine));
    }

    @Test
    void oneLeadsAfterTheOther() throws Exception {
        var election = client.getElectionClient();
        var observed = new CopyOnWriteArrayList<String>();
        election.observe(
                key("head"),
                new Election.Listener() {
                    @Override
                    public void onNext(LeaderResponse response) {
                        observed.add(text(response.getKv().getValue()));
                    }

                    @Override
                    public void onError(Throwable error) {
                        observed.add("error " + error);
                    }

                    @Override
                    public void onCompleted() {
                        observed.add("completed");
                    }
                });
        refused("NoLeaderException", election.leader(key("head")));
        var won = get(election.campaign(key("head"), grant(client, 60), bytes("one"))).getLeader();
        assertEquals("one", text(get(election.leader(key("head"))).getKv().getValue()));
        until("the first leader is told", () -> observed.contains("one"));
        get(election.proclaim(won, bytes("uno")));
        until("the proclamation is told", () -> observed.contains("uno"));
        var second = election.campaign(key("head"), grant(client, 60), bytes("two"));
        Thread.sleep(300);
        assertFalse(second.isDone(), "two lead");
        get(election.resign(won));
        get(second);
        until("the second leader is told", () -> observed.contains("two"));
        assertEquals(List.of("one", "uno", "two"), observed);
        refused("NotLeaderException", election.proclaim(won, bytes("x")));
    }
}
