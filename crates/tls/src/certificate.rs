//! What a certificate says about its holder, as far as rules ask for it, and the serial numbers in
//! a list of revoked certificates.
//!
//! Signatures and dates are the library's business; this only reads.

use crate::der::{
    BOOLEAN, GENERALIZED_TIME, INTEGER, OCTETS, OID, SEQUENCE, SET, UTC_TIME, Values, magnitude,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// 2.5.4.3, the common name.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 2.5.29.17, the alternative names of the subject.
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
/// The version, in front of everything else of a certificate.
const VERSION: u8 = 0xa0;
/// The extensions, behind everything else of a certificate.
const EXTENSIONS: u8 = 0xa3;
/// A host name among alternative names.
const DNS_NAME: u8 = 0x82;
/// An address among alternative names.
const IP_ADDRESS: u8 = 0x87;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The serial number, without zeros in front.
    pub(crate) serial: Vec<u8>,
    /// The common name of the subject; the last one, if there are several.
    pub(crate) common_name: String,
    /// Host names that it is for.
    pub(crate) dns_names: Vec<String>,
    /// Addresses that it is for.
    pub(crate) addresses: Vec<IpAddr>,
}

impl Facts {
    /// Reads a certificate; `None` if it is not one.
    pub(crate) fn read(der: &[u8]) -> Option<Facts> {
        let mut certificate = Values(Values(der).expect(SEQUENCE)?);
        let mut body = Values(certificate.expect(SEQUENCE)?);
        body.optional(VERSION);
        let serial = magnitude(body.expect(INTEGER)?).to_vec();
        body.expect(SEQUENCE)?; // how it is signed
        body.expect(SEQUENCE)?; // by whom
        body.expect(SEQUENCE)?; // for which time
        let subject = body.expect(SEQUENCE)?;
        body.expect(SEQUENCE)?; // the public key
        let mut facts = Facts {
            serial,
            common_name: common_name(Values(subject))?,
            ..Facts::default()
        };
        while let Some((identifier, contents)) = body.next() {
            if identifier == EXTENSIONS {
                facts.read_extensions(Values(Values(contents).expect(SEQUENCE)?))?;
            }
        }
        Some(facts)
    }

    /// Whether it is for any place at all.
    pub(crate) fn names_a_place(&self) -> bool {
        !self.dns_names.is_empty() || !self.addresses.is_empty()
    }

    fn read_extensions(&mut self, mut extensions: Values<'_>) -> Option<()> {
        while !extensions.is_empty() {
            let mut extension = Values(extensions.expect(SEQUENCE)?);
            let id = extension.expect(OID)?;
            extension.optional(BOOLEAN);
            let value = extension.expect(OCTETS)?;
            if id == ALTERNATIVE_NAMES {
                self.read_names(Values(Values(value).expect(SEQUENCE)?))?;
            }
        }
        Some(())
    }

    fn read_names(&mut self, mut names: Values<'_>) -> Option<()> {
        while !names.is_empty() {
            match names.next()? {
                (DNS_NAME, name) => self.dns_names.push(String::from_utf8(name.to_vec()).ok()?),
                (IP_ADDRESS, bytes) => self.addresses.push(address(bytes)?),
                _ => {}
            }
        }
        Some(())
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(bytes).into());
    }
    let bytes = <[u8; 16]>::try_from(bytes).ok()?;
    Some(Ipv6Addr::from(bytes).into())
}

fn common_name(mut name: Values<'_>) -> Option<String> {
    let mut found = String::new();
    while !name.is_empty() {
        let mut attributes = Values(name.expect(SET)?);
        while !attributes.is_empty() {
            let mut attribute = Values(attributes.expect(SEQUENCE)?);
            let id = attribute.expect(OID)?;
            let (_, text) = attribute.next()?;
            if id == COMMON_NAME {
                found = String::from_utf8_lossy(text).into_owned();
            }
        }
    }
    Some(found)
}

/// The serial numbers in a list of revoked certificates, without zeros in front; `None` if it is
/// not such a list.
pub(crate) fn revoked_serials(der: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut list = Values(Values(der).expect(SEQUENCE)?);
    let mut body = Values(list.expect(SEQUENCE)?);
    body.optional(INTEGER); // the version
    body.expect(SEQUENCE)?; // how it is signed
    body.expect(SEQUENCE)?; // by whom
    let time = |body: &mut Values<'_>| {
        body.optional(UTC_TIME)
            .or_else(|| body.optional(GENERALIZED_TIME))
            .is_some()
    };
    if !time(&mut body) {
        return None;
    }
    time(&mut body); // when the next one comes, if that is said
    let mut entries = Values(body.optional(SEQUENCE).unwrap_or_default());
    let mut serials = Vec::new();
    while !entries.is_empty() {
        let mut entry = Values(entries.expect(SEQUENCE)?);
        serials.push(magnitude(entry.expect(INTEGER)?).to_vec());
    }
    Some(serials)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod,
        KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
    };

    fn certificate(names: &[&str], common_name: Option<&str>) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "etcd");
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.serial_number = Some(SerialNumber::from_slice(&[0x91, 2, 3]));
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn names_and_number_are_read() {
        let der = certificate(&["a.example", "127.0.0.1", "::1"], Some("m1"));
        let facts = Facts::read(&der).unwrap();
        assert_eq!(facts.common_name, "m1");
        assert_eq!(facts.dns_names, ["a.example"]);
        assert_eq!(
            facts.addresses,
            [IpAddr::from([127, 0, 0, 1]), Ipv6Addr::LOCALHOST.into()]
        );
        assert_eq!(facts.serial, [0x91, 2, 3]);
        assert!(facts.names_a_place());
    }

    #[test]
    fn a_certificate_without_names_has_none() {
        let facts = Facts::read(&certificate(&[], None)).unwrap();
        assert_eq!(facts.common_name, "");
        assert!(!facts.names_a_place());
    }

    #[test]
    fn every_cut_or_changed_certificate_is_read_or_refused() {
        let der = certificate(&["a.example"], Some("m1"));
        for len in 0..der.len() {
            assert_eq!(Facts::read(&der[..len]), None, "cut at {len}");
        }
        let mut read = 0;
        for at in 0..der.len() {
            for bit in 0..8 {
                let mut changed = der.clone();
                changed[at] ^= 1 << bit;
                read += usize::from(Facts::read(&changed).is_some());
            }
        }
        assert!(read > 0, "most bits stand in keys and signatures");
    }

    #[test]
    fn revoked_numbers_are_read() {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::CrlSign];
        let issuer = Issuer::new(params, KeyPair::generate().unwrap());
        let revoked = |serial: &[u8]| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = |revoked_certs| {
            CertificateRevocationListParams {
                this_update: date_time_ymd(2024, 1, 1),
                next_update: date_time_ymd(2034, 1, 1),
                crl_number: SerialNumber::from(1_u64),
                issuing_distribution_point: None,
                revoked_certs,
                key_identifier_method: KeyIdMethod::Sha256,
            }
            .signed_by(&issuer)
            .unwrap()
            .der()
            .to_vec()
        };
        let der = list(vec![revoked(&[5]), revoked(&[0x91, 2])]);
        assert_eq!(revoked_serials(&der), Some(vec![vec![5], vec![0x91, 2]]));
        assert_eq!(revoked_serials(&list(Vec::new())), Some(Vec::new()));
        for len in 0..der.len() {
            assert_eq!(revoked_serials(&der[..len]), None, "cut at {len}");
        }
        assert_eq!(revoked_serials(b"-----BEGIN X509 CRL-----"), None);
    }
}
