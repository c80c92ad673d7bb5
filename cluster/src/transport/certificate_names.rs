use rustls::pki_types::{CertificateDer, ServerName};
use webpki::EndEntityCert;

/// Whether a certificate names this host in its subject alternative names; a wildcard counts only if it may.
///
/// That it is valid and of a trusted root has been checked by rustls.
pub(crate) fn check(certificate: &CertificateDer<'_>, host: &str, wildcards: bool) -> Result<(), String> {
    let parsed = EndEntityCert::try_from(certificate)
        .map_err(|error| format!("the certificate of {host} is none: {error}"))?;
    let name = ServerName::try_from(host).map_err(|_| {
        format!("{host:?} is neither a DNS name nor an IP address, so that no certificate names it")
    })?;
    let refused = |also: &str| {
        let names: Vec<_> = parsed.valid_dns_names().take(8).collect();
        let names = if names.is_empty() { "no DNS name".to_owned() } else { names.join(", ") };
        format!(
            "the certificate does not name {host}, but {names}{also}: issue one whose subject alternative names have the host that the \
             node is advertised under"
        )
    };
    parsed.verify_is_valid_for_subject_name(&name).map_err(|_| refused(""))?;
    let exact = |dns: &str| dns.eq_ignore_ascii_case(host.trim_end_matches('.'));
    let by_wildcard = matches!(name, ServerName::DnsName(_)) && !parsed.valid_dns_names().any(exact);
    if by_wildcard && !wildcards { Err(refused(" (wildcards are not allowed)")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn certificate(names: &[&str]) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        CertificateParams::new(names).unwrap().self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn the_host_must_be_named() {
        let certificate = certificate(&["node-1.internal", "127.0.0.1", "::1"]);
        for host in ["node-1.internal", "NODE-1.internal", "127.0.0.1", "::1"] {
            assert_eq!(check(&certificate, host, false), Ok(()), "{host}");
        }
        for host in ["node-2.internal", "internal", "127.0.0.2", "a b", ""] {
            assert!(check(&certificate, host, true).is_err(), "{host}");
        }
    }

    #[test]
    fn a_wildcard_counts_only_if_it_may() {
        let certificate = certificate(&["*.shop.internal"]);
        assert_eq!(check(&certificate, "node-1.shop.internal", true), Ok(()));
        let refused = check(&certificate, "node-1.shop.internal", false).expect_err("a wildcard");
        assert!(refused.contains("wildcards are not allowed"), "{refused}");
        assert!(check(&certificate, "a.node-1.shop.internal", true).is_err());
    }
}
