//! Handshakes between our two ends, with certificates made for the purpose.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use tenet_tls::{
    Allowed, ClientTls, SelfSigned, ServerTls, TlsError, TlsFiles, TlsVersion, make_self_signed,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// An authority in a directory.
struct Authority {
    directory: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), issuer.pem()).unwrap();
        Authority { directory, issuer }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes or replaces a certificate.
    fn issue(&self, file: &str, common_name: &str, places: &[&str], serial: u8) -> TlsFiles {
        let places: Vec<String> = places.iter().map(|&place| place.to_owned()).collect();
        let mut params = CertificateParams::new(places).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.serial_number = Some(SerialNumber::from_slice(&[serial]));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (pem, key_pem) = (
            self.path(&format!("{file}.pem")),
            self.path(&format!("{file}.key")),
        );
        std::fs::write(&pem, certificate.pem()).unwrap();
        std::fs::write(&key_pem, key.serialize_pem()).unwrap();
        let mut files = TlsFiles::new(pem, key_pem);
        files.trusted_ca = Some(self.path("ca.pem"));
        files
    }
}

/// What each end says of a connection between them; a word is exchanged if both are content.
async fn meet(
    server: &ServerTls,
    client: &ClientTls,
    host: &str,
) -> (Result<(), TlsError>, Result<(), String>) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let serve = async {
        let mut socket = server.accept(ours, Some(LOOPBACK)).await?;
        let _ = socket.write_all(b"word").await;
        let _ = socket.flush().await;
        Ok(())
    };
    let call = async {
        let mut socket = client
            .connect(theirs, host)
            .await
            .map_err(|error| error.to_string())?;
        let mut word = [0; 4];
        // In TLS 1.3 a caller learns only here that it was refused.
        socket
            .read_exact(&mut word)
            .await
            .map_err(|error| error.to_string())?;
        Ok(())
    };
    tokio::join!(serve, call)
}

fn both(files: &TlsFiles) -> (ServerTls, ClientTls) {
    (
        ServerTls::new(files).unwrap(),
        ClientTls::new(files).unwrap(),
    )
}

#[tokio::test]
async fn hosts_must_be_those_of_the_certificate_unless_a_name_is_given() {
    let authority = Authority::new();
    let mut files = authority.issue("m", "m", &["127.0.0.1", "a.example"], 1);
    let (server, client) = both(&files);
    for host in ["127.0.0.1", "a.example"] {
        let (served, called) = meet(&server, &client, host).await;
        assert!(
            served.is_ok() && called.is_ok(),
            "{host}: {served:?} {called:?}"
        );
    }
    let (_, called) = meet(&server, &client, "b.example").await;
    assert!(called.unwrap_err().contains("not valid for name"));
    files.server_name = Some("a.example".into());
    let (_, called) = meet(&server, &both(&files).1, "10.0.0.9").await;
    assert_eq!(called, Ok(()));
}

#[tokio::test]
async fn callers_without_a_certificate_are_refused_where_one_is_asked_for() {
    let authority = Authority::new();
    let files = authority.issue("m", "m", &["127.0.0.1"], 1);
    let alone = make_self_signed(SelfSigned {
        directory: &authority.path("alone"),
        hosts: &[],
        years: 1,
    })
    .unwrap();
    let (served, called) = meet(&both(&files).0, &both(&alone).1, "127.0.0.1").await;
    assert!(matches!(served, Err(TlsError::Handshake(_))), "{served:?}");
    assert!(called.is_err());
    // Without authorities nobody is asked.
    let mut open = files.clone();
    open.trusted_ca = None;
    let (served, called) = meet(&both(&open).0, &both(&alone).1, "127.0.0.1").await;
    assert!(served.is_ok() && called.is_ok(), "{served:?} {called:?}");
}

#[tokio::test]
async fn names_decide_who_is_accepted_in_both_directions() {
    let authority = Authority::new();
    let caller = authority.issue("caller", "m2", &["127.0.0.1", "m2.example"], 2);
    let with = |allowed: Allowed| {
        let mut files = authority.issue("m", "m1", &["127.0.0.1", "m1.example"], 1);
        files.allowed = allowed;
        files
    };
    let names = |name: &str| with(Allowed::CommonNames(vec![name.into()]));
    let hosts = |host: &str| with(Allowed::Hosts(vec!["other.example".into(), host.into()]));
    for (files, good) in [
        (names("m2"), true),
        (names("m3"), false),
        (hosts("m2.example"), true),
        (hosts("m3.example"), false),
    ] {
        let (served, _) = meet(&both(&files).0, &both(&caller).1, "127.0.0.1").await;
        assert_eq!(served.is_ok(), good, "{:?}: {served:?}", files.allowed);
        if let Err(error) = served {
            let text = error.to_string();
            assert!(
                text.contains("client certificate authentication failed"),
                "{text}"
            );
        }
    }
    // Whom we call is asked the same.
    for (name, good) in [("m2", true), ("m3", false)] {
        let (_, called) = meet(&both(&caller).0, &both(&names(name)).1, "127.0.0.1").await;
        assert_eq!(called.is_ok(), good, "{called:?}");
    }
}

#[tokio::test]
async fn a_caller_must_call_from_where_its_certificate_is_for() {
    let authority = Authority::new();
    let mut files = authority.issue("m", "m", &["127.0.0.1"], 1);
    files.check_caller_address = true;
    let server = both(&files).0;
    let client = both(&authority.issue("x", "x", &["127.0.0.1"], 2)).1;
    assert!(meet(&server, &client, "127.0.0.1").await.0.is_ok());
    let client = both(&authority.issue("x", "x", &["10.0.0.9"], 3)).1;
    let (served, called) = meet(&server, &client, "127.0.0.1").await;
    assert_eq!(
        served.unwrap_err().to_string(),
        "x509: certificate is valid for 10.0.0.9, not 127.0.0.1"
    );
    assert!(called.is_err());
}

#[tokio::test]
async fn revoked_callers_are_refused_and_the_list_is_read_each_time() {
    let authority = Authority::new();
    let mut files = authority.issue("m", "m", &["127.0.0.1"], 1);
    files.revoked = Some(authority.path("revoked.crl"));
    let server = both(&files).0;
    let client = both(&authority.issue("x", "x", &[], 0x2a)).1;
    let write = |serials: &[u8]| {
        let revoked_certs = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[*serial]),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2034, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&authority.issuer).unwrap();
        std::fs::write(authority.path("revoked.crl"), list.der()).unwrap();
    };
    let refusal = async || {
        meet(&server, &client, "127.0.0.1")
            .await
            .0
            .map_err(|e| e.to_string())
    };
    assert!(refusal().await.unwrap_err().contains("No such file"));
    write(&[]);
    assert_eq!(refusal().await, Ok(()));
    write(&[7, 0x2a]);
    assert_eq!(
        refusal().await,
        Err("transport: certificate serial 2a revoked".into())
    );
    std::fs::write(authority.path("revoked.crl"), "no list").unwrap();
    assert!(
        refusal()
            .await
            .unwrap_err()
            .contains("no list of revoked certificates")
    );
}

#[tokio::test]
async fn replaced_files_count_from_the_next_handshake_on() {
    let authority = Authority::new();
    let files = authority.issue("m", "m1", &["127.0.0.1"], 1);
    let server = both(&files).0;
    let mut caller = authority.issue("x", "x", &[], 2);
    caller.allowed = Allowed::CommonNames(vec!["m2".into()]);
    let client = both(&caller).1;
    let accepted = async || meet(&server, &client, "127.0.0.1").await.1.is_ok();
    assert!(!accepted().await);
    authority.issue("m", "m2", &["127.0.0.1"], 3);
    assert!(accepted().await);
    // A key that is not the certificate's fails handshakes until it is put right.
    let good = std::fs::read(authority.path("m.key")).unwrap();
    std::fs::write(
        authority.path("m.key"),
        KeyPair::generate().unwrap().serialize_pem(),
    )
    .unwrap();
    assert!(!accepted().await);
    std::fs::remove_file(authority.path("m.key")).unwrap();
    assert!(!accepted().await);
    std::fs::write(authority.path("m.key"), good).unwrap();
    assert!(accepted().await);
}

#[tokio::test]
async fn versions_meet_in_the_middle_or_not_at_all() {
    let authority = Authority::new();
    let files = |min, max| {
        let mut files = authority.issue("m", "m", &["127.0.0.1"], 1);
        (files.version_min, files.version_max) = (min, max);
        both(&files)
    };
    let old = files(TlsVersion::Tls12, TlsVersion::Tls12);
    let new = files(TlsVersion::Tls13, TlsVersion::Tls13);
    let any = files(TlsVersion::Tls12, TlsVersion::Tls13);
    assert!(meet(&any.0, &old.1, "127.0.0.1").await.1.is_ok());
    assert!(meet(&new.0, &any.1, "127.0.0.1").await.1.is_ok());
    assert!(meet(&new.0, &old.1, "127.0.0.1").await.1.is_err());
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let authority = Authority::new();
    let files = authority.issue("m", "m", &["127.0.0.1"], 1);
    let refused = |change: &dyn Fn(&mut TlsFiles)| {
        let mut files = files.clone();
        change(&mut files);
        ServerTls::new(&files).unwrap_err().to_string()
    };
    let text = refused(&|files| files.certificate = authority.path("none.pem"));
    assert!(text.contains("none.pem: No such file"), "{text}");
    let text = refused(&|files| files.certificate = authority.path("m.key"));
    assert!(
        text.ends_with("it holds no certificate in PEM form"),
        "{text}"
    );
    let text = refused(&|files| files.key = authority.path("m.pem"));
    assert!(
        text.ends_with("it holds no private key in PEM form"),
        "{text}"
    );
    let other = authority.issue("other", "m", &[], 2);
    let text = refused(&|files| files.key = other.key.clone());
    assert!(text.contains("it is not the key of"), "{text}");
    let text = refused(&|files| files.trusted_ca = Some(authority.path("m.key")));
    assert!(
        text.ends_with("it holds no certificate in PEM form"),
        "{text}"
    );
}

#[test]
fn what_was_made_once_is_used_again_and_only_its_owner_may_read_it() {
    let directory = tempfile::tempdir().unwrap();
    let make = |years| {
        make_self_signed(SelfSigned {
            directory: &directory.path().join("fixtures/peer"),
            hosts: &["127.0.0.1".into(), "a.example".into()],
            years,
        })
    };
    assert_eq!(
        make(0).unwrap_err().to_string(),
        "selfSignedCertValidity is invalid,it should be greater than 0"
    );
    let files = make(1).unwrap();
    assert!(files.certificate.ends_with("fixtures/peer/cert.pem"));
    let mode = std::fs::metadata(&files.key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = std::fs::read(&files.certificate).unwrap();
    assert_eq!(make(2).unwrap().key, files.key);
    assert_eq!(std::fs::read(&files.certificate).unwrap(), before);
    // Half of it is not enough.
    std::fs::remove_file(&files.key).unwrap();
    let files = make(1).unwrap();
    assert_ne!(std::fs::read(&files.certificate).unwrap(), before);
    ServerTls::new(&files).unwrap();
}
