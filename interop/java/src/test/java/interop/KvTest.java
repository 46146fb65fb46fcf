package interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.KV;
import io.etcd.jetcd.op.Cmp;
import io.etcd.jetcd.op.CmpTarget;
import io.etcd.jetcd.op.Op;
import io.etcd.jetcd.options.CompactOption;
import io.etcd.jetcd.options.DeleteOption;
import io.etcd.jetcd.options.GetOption;
import io.etcd.jetcd.options.PutOption;
import java.net.URI;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Keys and values, transactions and what is refused. */
class KvTest extends Bench {
    private KV kv;

    @BeforeEach
    void openKv() {
        kv = client.getKVClient();
    }

    private long put(String name, String value) throws Exception {
        return get(kv.put(key(name), bytes(value))).getHeader().getRevision();
    }

    private List<String> names(GetOption.Builder options) throws Exception {
        return get(kv.get(key(""), options.withPrefix(key("")).build())).getKvs().stream()
                .map(found -> name(found.getKey()))
                .toList();
    }

    @Test
    void putGetAndDelete() throws Exception {
        var first = put("a", "1");
        var before = get(kv.put(key("a"), bytes("2"), PutOption.builder().withPrevKV().build()));
        assertEquals("1", text(before.getPrevKv().getValue()));
        var found = get(kv.get(key("a"))).getKvs().get(0);
        assertEquals("2", text(found.getValue()));
        assertEquals(2, found.getVersion());
        assertEquals(first, found.getCreateRevision());
        assertEquals(first + 1, found.getModRevision());
        var past = get(kv.get(key("a"), GetOption.builder().withRevision(first).withSerializable(true).build()));
        assertEquals("1", text(past.getKvs().get(0).getValue()));
        var gone = get(kv.delete(key("a"), DeleteOption.builder().withPrevKV(true).build()));
        assertEquals(1, gone.getDeleted());
        assertEquals("2", text(gone.getPrevKvs().get(0).getValue()));
        assertNull(value(client, key("a")));
        assertEquals(0, get(kv.delete(key("a"))).getDeleted());
    }

    @Test
    void ranges() throws Exception {
        for (var name : List.of("c", "a", "b", "ab")) {
            put(name, name);
        }
        assertEquals(List.of("a", "ab", "b", "c"), names(GetOption.builder()));
        assertEquals(
                List.of("c", "b", "ab", "a"),
                names(
                        GetOption.builder()
                                .withSortField(GetOption.SortTarget.KEY)
                                .withSortOrder(GetOption.SortOrder.DESCEND)));
        assertEquals(
                List.of("c", "a"),
                names(
                        GetOption.builder()
                                .withSortField(GetOption.SortTarget.CREATE)
                                .withSortOrder(GetOption.SortOrder.ASCEND)
                                .withLimit(2)));
        var counted = get(kv.get(key(""), GetOption.builder().isPrefix(true).withCountOnly(true).build()));
        assertEquals(4, counted.getCount());
        assertTrue(counted.getKvs().isEmpty());
        var page = get(kv.get(key("a"), GetOption.builder().withRange(key("c")).withLimit(2).withKeysOnly(true).build()));
        assertTrue(page.isMore());
        assertEquals(3, page.getCount());
        assertEquals(0, page.getKvs().get(0).getValue().size());
        assertEquals(2, get(kv.delete(key("a"), DeleteOption.builder().isPrefix(true).build())).getDeleted());
        assertEquals(List.of("b", "c"), names(GetOption.builder()));
    }

    private io.etcd.jetcd.kv.TxnResponse choose(Cmp... compare) throws Exception {
        var nested = new Op[] {Op.put(key("lost"), bytes("no"), PutOption.DEFAULT)};
        return get(
                kv.txn()
                        .If(compare)
                        .Then(Op.put(key("won"), bytes("yes"), PutOption.DEFAULT), Op.get(key("a"), GetOption.DEFAULT))
                        .Else(Op.delete(key("won"), DeleteOption.DEFAULT), Op.txn(new Cmp[] {}, nested, new Op[] {}))
                        .commit());
    }

    @Test
    void transactions() throws Exception {
        put("a", "1");
        var won =
                choose(
                        new Cmp(key("a"), Cmp.Op.EQUAL, CmpTarget.value(bytes("1"))),
                        new Cmp(key("a"), Cmp.Op.GREATER, CmpTarget.version(0)),
                        new Cmp(key("none"), Cmp.Op.EQUAL, CmpTarget.createRevision(0)),
                        new Cmp(key("a"), Cmp.Op.GREATER, CmpTarget.modRevision(1)));
        assertTrue(won.isSucceeded());
        assertEquals("1", text(won.getGetResponses().get(0).getKvs().get(0).getValue()));
        assertEquals("yes", value(client, key("won")));
        var lost = choose(new Cmp(key("a"), Cmp.Op.LESS, CmpTarget.value(bytes("1"))));
        assertFalse(lost.isSucceeded());
        assertEquals(1, lost.getDeleteResponses().get(0).getDeleted());
        assertTrue(lost.getTxnResponses().get(0).isSucceeded());
        assertEquals("no", value(client, key("lost")));
    }

    @Test
    void whatIsRefused() throws Exception {
        refused("etcdserver: key is not provided", kv.put(ByteSequence.EMPTY, bytes("v")));
        var put = Op.put(key("k"), bytes("v"), PutOption.DEFAULT);
        refused("etcdserver: duplicate key given in txn request", kv.txn().Then(put, put).commit());
        var many =
                IntStream.range(0, 129)
                        .mapToObj(n -> Op.put(key("" + n), bytes("v"), PutOption.DEFAULT))
                        .toArray(Op[]::new);
        refused("etcdserver: too many operations in txn request", kv.txn().Then(many).commit());
        refused(
                "etcdserver: requested lease not found",
                kv.put(key("k"), bytes("v"), PutOption.builder().withLeaseId(123456789).build()));
        refused("etcdserver: request is too large", kv.put(key("k"), ByteSequence.from(new byte[1_600_000])));
        refused(
                "etcdserver: mvcc: required revision is a future revision",
                kv.get(key("k"), GetOption.builder().withRevision(1 << 30).build()));
        assertNull(value(client, key("k")));
    }

    @Test
    void compaction() throws Exception {
        put("k", "1");
        var second = put("k", "2");
        get(kv.compact(second, CompactOption.builder().withCompactPhysical(true).build()));
        refused(
                "etcdserver: mvcc: required revision has been compacted",
                kv.get(key("k"), GetOption.builder().withRevision(second - 1).build()));
        refused("etcdserver: mvcc: required revision has been compacted", kv.compact(second));
        assertEquals("2", value(client, key("k")));
    }

    @Test
    void statusAndMembers() throws Exception {
        var maintenance = client.getMaintenanceClient();
        var status = get(maintenance.statusMember(shared.url()));
        assertEquals(3, status.getVersion().split("\\.").length);
        assertTrue(status.getDbSize() > 0);
        var members = get(client.getClusterClient().listMember()).getMembers();
        assertEquals(1, members.size());
        assertEquals("default", members.get(0).getName());
        assertEquals(List.of(URI.create(shared.url())), members.get(0).getClientURIs());
        assertTrue(get(maintenance.hashKV(shared.url(), 0)).getHash() != 0);
    }
}
