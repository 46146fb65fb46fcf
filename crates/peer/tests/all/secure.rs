//! Members that talk over TLS.

use crate::world::{Member, connected, message};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tenet_peer::Client;
use tenet_proto::raftpb::MessageType;
use tenet_tls::{Allowed, ClientTls, SelfSigned, ServerTls, TlsFiles, make_self_signed};

/// An authority and what it vouches for, in files.
struct Authority {
    directory: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), issuer.pem()).unwrap();
        Authority { directory, issuer }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A member's certificate, valid on loopback.
    fn member(&self, name: &str) -> TlsFiles {
        let mut params = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (pem, key_pem) = (
            self.path(&format!("{name}.pem")),
            self.path(&format!("{name}.key")),
        );
        std::fs::write(&pem, certificate.pem()).unwrap();
        std::fs::write(&key_pem, key.serialize_pem()).unwrap();
        let mut files = TlsFiles::new(pem, key_pem);
        files.trusted_ca = Some(self.path("ca.pem"));
        files.client_cert_auth = true;
        files.check_caller_address = true;
        files.protocols = &["http/1.1"];
        files
    }
}

fn ends(files: &TlsFiles) -> (ServerTls, ClientTls) {
    (
        ServerTls::new(files).unwrap(),
        ClientTls::new(files).unwrap(),
    )
}

async fn talk(a: &Member, b: &Member) {
    a.knows(b);
    b.knows(a);
    connected(a, b).await;
    a.transport.send([message(MessageType::Vote, a.id, b.id)]);
    b.until("the message", |seen| seen.messages.len() == 1)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_one_authority_talk() {
    let authority = Authority::new("ours");
    let a = Member::start_with(1, Some(ends(&authority.member("m1")))).await;
    let b = Member::start_with(2, Some(ends(&authority.member("m2")))).await;
    talk(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_made_their_certificates_themselves_talk() {
    let directory = tempfile::tempdir().unwrap();
    let files = |name: &str| made(&directory.path().join(name));
    let a = Member::start_with(1, Some(ends(&files("m1")))).await;
    let b = Member::start_with(2, Some(ends(&files("m2")))).await;
    talk(&a, &b).await;
}

fn made(directory: &Path) -> TlsFiles {
    make_self_signed(SelfSigned {
        directory,
        hosts: &["127.0.0.1".into()],
        years: 1,
    })
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_names_that_are_not_allowed_get_nowhere() {
    let (authority, other) = (Authority::new("ours"), Authority::new("other"));
    let mut files = authority.member("m1");
    files.allowed = Allowed::CommonNames(vec!["m1".into(), "m2".into()]);
    let member = Member::start_with(1, Some(ends(&files))).await;
    let ask = async |files: &TlsFiles| {
        let tls = ClientTls::new(files).unwrap();
        let client = Client::new(Duration::from_secs(2), Duration::from_secs(5), Some(tls));
        client.versions(std::slice::from_ref(&member.url)).await
    };
    ask(&authority.member("m2")).await.unwrap();
    let mut stranger = other.member("m2");
    stranger.trusted_ca = Some(authority.path("ca.pem"));
    ask(&stranger).await.unwrap_err();
    ask(&authority.member("m3")).await.unwrap_err();
    // Nor do we trust a member of another authority.
    let error = ask(&other.member("m2")).await.unwrap_err().to_string();
    assert!(
        error.contains("invalid peer certificate: UnknownIssuer"),
        "{error}"
    );
    // And the member goes on.
    ask(&authority.member("m1")).await.unwrap();
}
