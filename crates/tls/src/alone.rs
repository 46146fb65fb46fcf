//! A certificate of one's own making, so that nothing has to be given for connections that nobody
//! can listen to.
//!
//! Files that are there already are used as they are. Where etcd takes the curve P-521, which the
//! library does not have, this takes P-256; etcd's members do not look at it.

use crate::error::TlsError;
use crate::files::TlsFiles;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use time::{Duration, OffsetDateTime};

/// What a certificate is made for.
#[derive(Clone, Copy, Debug)]
pub struct SelfSigned<'a> {
    /// Where the files are: `<data-dir>/fixtures/peer` or `…/client`.
    pub directory: &'a Path,
    /// Host names and addresses that it is for.
    pub hosts: &'a [String],
    /// How long it is valid.
    pub years: u32,
}

/// The pair in a directory, made if it is not there.
///
/// # Errors
/// If it cannot be written, or is to be valid for no time.
pub fn make_self_signed(wanted: SelfSigned<'_>) -> Result<TlsFiles, TlsError> {
    if wanted.years == 0 {
        return Err(TlsError::NoValidity);
    }
    let failed = |error| TlsError::File {
        path: wanted.directory.to_owned(),
        error,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(wanted.directory)
        .map_err(failed)?;
    let directory = std::path::absolute(wanted.directory).map_err(failed)?;
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    if !(certificate.exists() && key.exists()) {
        let (certificate_text, key_text) = make(wanted)?;
        write(&key, &key_text)?;
        write(&certificate, &certificate_text)?;
        tracing::info!(path = %certificate.display(), "created cert file");
        tracing::info!(path = %key.display(), "created key file");
    }
    let mut files = TlsFiles::new(certificate.clone(), key.clone());
    files.client_pair = Some((certificate, key));
    files.trust_anyone_called = true;
    Ok(files)
}

/// A certificate and its key, in PEM form.
fn make(wanted: SelfSigned<'_>) -> Result<(String, String), TlsError> {
    let setup = |error: rcgen::Error| TlsError::Setup(error.to_string());
    let mut params = CertificateParams::new(wanted.hosts).map_err(setup)?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "etcd");
    params.not_before = OffsetDateTime::now_utc();
    params.not_after = params.not_before + Duration::days(i64::from(wanted.years) * 365);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyEncipherment,
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::CrlSign,
    ];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    tracing::warn!(
        "certificate-validity-bound-not-after" = %params.not_after,
        "automatically generate certificates"
    );
    let key = KeyPair::generate().map_err(setup)?;
    let certificate = params.self_signed(&key).map_err(setup)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// Writes a file that only its owner may read.
fn write(path: &Path, text: &str) -> Result<(), TlsError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .map_err(|error| TlsError::File {
            path: path.to_owned(),
            error,
        })
}
