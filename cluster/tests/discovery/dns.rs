use annals_cluster::discovery::{Discovery, Dns};

use crate::dns_server::{DnsServer, Records};
use crate::shown;

const NAME: &str = "nodes.bank.internal.";

#[tokio::test]
async fn addresses_of_both_kinds_are_contact_points_with_the_port_that_was_said() {
    let server = DnsServer::start().await;
    let dns = Dns::addresses(NAME, 2552).unwrap().asking(&[server.address]).unwrap();
    let addresses = ["10.0.0.2", "fd00::1", "10.0.0.1"].map(|address| address.parse().unwrap());
    server.set("nodes.bank.internal", Records::Addresses(addresses.to_vec()));
    let found = dns.contact_points().await.unwrap();
    assert_eq!(shown(&found), ["10.0.0.1:2552", "10.0.0.2:2552", "[fd00::1]:2552"]);

    // Each look is a fresh one.
    server.set("nodes.bank.internal", Records::Addresses(vec!["10.0.0.9".parse().unwrap()]));
    assert_eq!(shown(&dns.contact_points().await.unwrap()), ["10.0.0.9:2552"]);
    assert_eq!(dns.count(), None, "DNS may know fewer for a while: the operator says how many there are");
}

#[tokio::test]
async fn services_are_contact_points_by_target_and_port() {
    let server = DnsServer::start().await;
    let dns = Dns::services("_annals._tcp.bank.internal.").unwrap().asking(&[server.address]).unwrap();
    let services = vec![("bank-1.bank.internal", 2552), ("bank-0.bank.internal", 2553)];
    server.set("_annals._tcp.bank.internal", Records::Services(services));
    let found = dns.contact_points().await.unwrap();
    assert_eq!(shown(&found), ["bank-0.bank.internal:2553", "bank-1.bank.internal:2552"]);
}

#[tokio::test]
async fn a_name_without_records_and_a_server_that_fails_are_errors_that_say_what_to_do() {
    let server = DnsServer::start().await;
    let dns = Dns::addresses(NAME, 2552).unwrap().asking(&[server.address]).unwrap();
    let error = dns.contact_points().await.unwrap_err().to_string();
    assert!(error.contains("nodes.bank.internal") && error.contains("publishNotReadyAddresses"), "{error}");

    let services = Dns::services("_annals._tcp.bank.internal.").unwrap().asking(&[server.address]).unwrap();
    let error = services.contact_points().await.unwrap_err().to_string();
    assert!(error.contains("no SRV records"), "{error}");

    server.set("nodes.bank.internal", Records::Fails);
    let error = dns.contact_points().await.unwrap_err().to_string();
    assert!(error.contains("is a DNS server reached"), "{error}");

    // It comes back.
    server.set("nodes.bank.internal", Records::Addresses(vec!["10.0.0.9".parse().unwrap()]));
    assert_eq!(shown(&dns.contact_points().await.unwrap()), ["10.0.0.9:2552"]);
    server.forget("nodes.bank.internal");
    dns.contact_points().await.unwrap_err();
}
