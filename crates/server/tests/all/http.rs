//! What HTTP/1.1 clients see.

use crate::client::{http, raw};
use crate::{Server, options};
use std::io::Read;
use tenet_proto::etcdserverpb::AlarmType;
use tenet_server::config::access::AccessRules;
use tenet_server::serve::Role;

/// Status line, headers in lower case, body.
fn parts(answer: &str) -> (&str, String, &str) {
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{answer:?}"));
    let (status, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    (status, headers.to_lowercase(), body)
}

#[tokio::test]
async fn paths_are_answered_as_etcd_does() {
    let server = Server::start();
    let text = "content-type: text/plain; charset=utf-8";
    let nosniff = "x-content-type-options: nosniff";
    let cors = "access-control-allow-origin: *";
    for (method, path, status, headers, body) in [
        (
            "GET",
            "/health",
            "200 OK",
            [text, cors],
            "{\"health\":\"true\",\"reason\":\"\"}",
        ),
        (
            "POST",
            "/health",
            "405 Method Not Allowed",
            ["allow: get", nosniff],
            "Method Not Allowed\n",
        ),
        ("GET", "/livez", "200 OK", [text, nosniff], "ok\n"),
        (
            "GET",
            "/livez?verbose",
            "200 OK",
            [text, nosniff],
            "[+]serializable_read ok\nok\n",
        ),
        ("GET", "/readyz", "200 OK", [text, cors], "ok\n"),
        (
            "GET",
            "/readyz?verbose&exclude=linearizable_read",
            "200 OK",
            [text, nosniff],
            "[+]data_corruption ok\n[+]serializable_read ok\n[+]non_learner ok\nok\n",
        ),
        (
            "GET",
            "/readyz/non_learner?verbose",
            "200 OK",
            [text, nosniff],
            "[+]non_learner ok\nok\n",
        ),
        (
            "GET",
            "/readyz/foo",
            "404 Not Found",
            [text, nosniff],
            "404 page not found\n",
        ),
        (
            "PUT",
            "/livez",
            "405 Method Not Allowed",
            ["allow: get", nosniff],
            "Method Not Allowed\n",
        ),
        (
            "GET",
            "/version",
            "200 OK",
            ["content-type: application/json", cors],
            "{\"etcdserver\":\"3.7.1\",\"etcdcluster\":\"3.7.0\",\"storage\":\"3.7.0\"}",
        ),
        (
            "GET",
            "/",
            "404 Not Found",
            [text, nosniff],
            "404 page not found\n",
        ),
        (
            "GET",
            "/health/",
            "404 Not Found",
            [text, cors],
            "404 page not found\n",
        ),
        (
            "OPTIONS",
            "/anything",
            "200 OK",
            [cors, "content-length: 0"],
            "",
        ),
    ] {
        let answer = http(&server.address, method, path, "").await;
        let (found_status, found_headers, found_body) = parts(&answer);
        assert_eq!(
            found_status,
            format!("HTTP/1.1 {status}"),
            "{method} {path}"
        );
        for header in headers {
            assert!(
                found_headers.contains(header),
                "{method} {path}: {header} in {found_headers}"
            );
        }
        assert_eq!(found_body, body, "{method} {path}");
    }
}

#[tokio::test]
async fn alarms_and_a_lost_leader_show() {
    let server = Server::start();
    server.fake.raise(AlarmType::Nospace);
    let answer = http(&server.address, "GET", "/health", "").await;
    let (status, headers, body) = parts(&answer);
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert!(headers.contains("x-content-type-options: nosniff"));
    assert_eq!(
        body,
        "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n"
    );
    let answer = http(&server.address, "GET", "/health?exclude=NOSPACE", "").await;
    assert!(
        answer.ends_with("{\"health\":\"true\",\"reason\":\"\"}"),
        "{answer}"
    );
    let answer = http(&server.address, "GET", "/readyz", "").await;
    assert!(
        answer.ends_with("ok\n"),
        "no space left does not make a member unready: {answer}"
    );

    server.fake.raise(AlarmType::Corrupt);
    server.fake.lose_leader();
    let answer = http(
        &server.address,
        "GET",
        "/health?exclude=NOSPACE&exclude=CORRUPT",
        "",
    )
    .await;
    assert!(
        answer.ends_with("\"reason\":\"RAFT NO LEADER\"}\n"),
        "{answer}"
    );
    let path = "/health?exclude=NOSPACE&exclude=CORRUPT&serializable=true";
    assert!(
        http(&server.address, "GET", path, "")
            .await
            .ends_with("\"reason\":\"\"}")
    );
    let answer = http(&server.address, "GET", "/readyz", "").await;
    let (status, _, body) = parts(&answer);
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert_eq!(
        body,
        "[-]data_corruption failed: alarm activated: CORRUPT\n\
         [+]serializable_read ok\n\
         [-]linearizable_read failed: etcdserver: request timed out\n\
         [+]non_learner ok\n\n"
    );
    let page = http(&server.address, "GET", "/metrics", "").await;
    for line in [
        "etcd_server_health_failures 2\n",
        "etcd_server_health_success 2\n",
        "etcd_server_healthcheck{name=\"data_corruption\",type=\"readyz\"} 0\n",
        "etcd_server_healthchecks_total{name=\"linearizable_read\",status=\"success\",type=\"readyz\"} 1\n",
        "etcd_server_healthchecks_total{name=\"linearizable_read\",status=\"error\",type=\"readyz\"} 1\n",
    ] {
        assert!(page.contains(line), "{line}");
    }
}

#[tokio::test]
async fn metrics_are_a_page_of_text_that_can_be_packed() {
    let server = Server::start();
    let answer = http(&server.address, "GET", "/metrics", "").await;
    let (status, headers, body) = parts(&answer);
    assert_eq!(status, "HTTP/1.1 200 OK");
    let kind = "content-type: text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
    assert!(headers.contains(kind), "{headers}");
    for name in [
        "etcd_server_has_leader 1\n",
        "tenet_build_info{version=\"",
        "process_resident_memory_bytes ",
        "# TYPE grpc_server_handled_total counter\n",
    ] {
        assert!(body.contains(name), "{name}");
    }
    let mut families = body.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    assert!(families.clone().is_sorted());
    assert!(families.all(|family| {
        let name = family.split(' ').next().unwrap_or_default();
        body.matches(&format!("# TYPE {name} ")).count() == 1
    }));

    let url = format!("{}/metrics", server.address);
    let packed = tokio::task::spawn_blocking(move || get_packed(&url))
        .await
        .expect("no panic");
    assert!(packed.contains("etcd_server_has_leader 1\n"));
}

fn get_packed(url: &str) -> String {
    let (address, _) = url.split_once('/').expect("a path");
    let mut socket = std::net::TcpStream::connect(address).expect("a server");
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept-Encoding: br, gzip\r\n\r\n";
    std::io::Write::write_all(&mut socket, request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).expect("an answer");
    let end = answer
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .expect("a head")
        + 4;
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    assert!(head.contains("content-encoding: gzip"), "{head}");
    let mut plain = String::new();
    flate2::read::GzDecoder::new(&answer[end..])
        .read_to_string(&mut plain)
        .expect("gzip");
    plain
}

#[tokio::test]
async fn listeners_serve_what_they_are_for() {
    let server = Server::start();
    let metrics = server.listen(Role::Metrics);
    let grpc = server.listen(Role::ClientGrpc);
    let only_http = server.listen(Role::ClientHttp);
    let answer = http(&metrics, "GET", "/health", "").await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && !answer.contains("ontrol-"),
        "{answer}"
    );
    assert!(
        http(&metrics, "GET", "/version", "")
            .await
            .starts_with("HTTP/1.1 404")
    );
    assert!(
        http(&only_http, "GET", "/version", "")
            .await
            .starts_with("HTTP/1.1 200")
    );
    assert_eq!(http(&grpc, "GET", "/version", "").await, "");
    assert_eq!(
        raw(&only_http, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await,
        ""
    );
    assert_eq!(
        raw(&server.address, b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n").await,
        ""
    );
    assert_eq!(
        raw(&server.address, b"\x16\x03\x01garbage\r\n\r\n").await,
        ""
    );
}

#[tokio::test]
async fn hosts_and_origins_are_checked_where_they_are_listed() {
    let access = AccessRules::new(
        ["good.example".to_owned()],
        ["http://page.example".to_owned()],
    );
    let server = Server::with(crate::ServeOptions {
        access,
        ..options()
    });
    let answer = http(&server.address, "GET", "/version", "").await;
    let (status, _, body) = parts(&answer);
    assert_eq!(status, "HTTP/1.1 421 Misdirected Request");
    assert!(
        body.contains("CVE-2018-5702") && body.contains("--host-whitelist"),
        "{body}"
    );

    let ask = |origin: &str| {
        format!(
            "GET /version HTTP/1.1\r\nHost: good.example:2379\r\nConnection: close\r\n\
             Origin: {origin}\r\n\r\n"
        )
    };
    let answer = raw(&server.address, ask("http://page.example").as_bytes()).await;
    let (status, headers, _) = parts(&answer);
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(
        headers.contains("access-control-allow-origin: http://page.example"),
        "{headers}"
    );
    let answer = raw(&server.address, ask("http://other.example").as_bytes()).await;
    assert!(!parts(&answer).1.contains("access-control"), "{answer}");
}
