//! Whether a caller's certificate is for the place that it calls from, as etcd asks of members.
//!
//! An address among its names must be the caller's. If it has host names, the address may also
//! belong to one of those: by asking for the names of the address, which may match with a wildcard,
//! or for the addresses of the names. A certificate without either is taken from anywhere.

use crate::certificate::Facts;
use crate::error::TlsError;
use std::net::IpAddr;

/// Checks a caller.
pub(crate) async fn check(facts: &Facts, caller: IpAddr) -> Result<(), TlsError> {
    let caller = caller.to_canonical();
    if !facts.names_a_place() || facts.addresses.iter().any(|at| at.to_canonical() == caller) {
        return Ok(());
    }
    if facts.dns_names.is_empty() {
        let valid: Vec<String> = facts.addresses.iter().map(IpAddr::to_string).collect();
        return Err(TlsError::ElsewhereAddresses {
            address: caller.to_string(),
            valid: valid.join(", "),
        });
    }
    let asked = tokio::task::spawn_blocking(move || dns_lookup::lookup_addr(&caller));
    // A name server that does not answer is one that knows no name.
    let name = asked.await.ok().and_then(Result::ok);
    if name.is_some_and(|name| matches_any(name.trim_end_matches('.'), &facts.dns_names)) {
        return Ok(());
    }
    for name in facts
        .dns_names
        .iter()
        .filter(|name| !name.starts_with("*."))
    {
        let found = tokio::net::lookup_host((name.as_str(), 0)).await;
        if found.is_ok_and(|mut found| found.any(|at| at.ip().to_canonical() == caller)) {
            return Ok(());
        }
    }
    Err(TlsError::ElsewhereNames {
        address: caller.to_string(),
        names: facts.dns_names.clone(),
    })
}

/// Whether the name of an address is among those of a certificate. As in etcd a wildcard stands
/// for any number of parts.
fn matches_any(name: &str, of_certificate: &[String]) -> bool {
    of_certificate
        .iter()
        .any(|pattern| match pattern.strip_prefix('*') {
            Some(end) if end.starts_with('.') => name.ends_with(end),
            _ => name == pattern,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(names: &[&str], addresses: &[&str]) -> Facts {
        Facts {
            dns_names: names.iter().map(|&name| name.to_owned()).collect(),
            addresses: addresses.iter().map(|at| at.parse().unwrap()).collect(),
            ..Facts::default()
        }
    }

    async fn verdict(names: &[&str], addresses: &[&str], caller: &str) -> Result<(), String> {
        check(&facts(names, addresses), caller.parse().unwrap())
            .await
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn addresses_decide_where_there_are_only_addresses() {
        assert_eq!(verdict(&[], &[], "10.0.0.1").await, Ok(()));
        assert_eq!(verdict(&[], &["10.0.0.1"], "10.0.0.1").await, Ok(()));
        assert_eq!(verdict(&[], &["10.0.0.1"], "::ffff:10.0.0.1").await, Ok(()));
        assert_eq!(
            verdict(&[], &["10.0.0.1", "::1"], "10.0.0.2").await,
            Err("x509: certificate is valid for 10.0.0.1, ::1, not 10.0.0.2".into())
        );
    }

    #[tokio::test]
    async fn a_host_name_that_has_the_address_is_good_and_another_is_not() {
        assert_eq!(verdict(&["localhost"], &[], "127.0.0.1").await, Ok(()));
        assert_eq!(
            verdict(&["nowhere.invalid"], &["10.0.0.1"], "192.0.2.1").await,
            Err(r#"tls: "192.0.2.1" does not match any of DNSNames ["nowhere.invalid"]"#.into())
        );
    }

    #[test]
    fn wildcards_stand_for_any_number_of_parts() {
        let names = ["*.a.example".to_owned(), "b.example".to_owned()];
        for (name, good) in [
            ("x.a.example", true),
            ("y.x.a.example", true),
            ("a.example", false),
            ("b.example", true),
            ("x.b.example", false),
        ] {
            assert_eq!(matches_any(name, &names), good, "{name}");
        }
    }
}
