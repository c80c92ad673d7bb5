//! A DNS server of some names, over UDP.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// What it knows of a name.
#[derive(Clone)]
pub(crate) enum Records {
    Addresses(Vec<IpAddr>),
    /// Target and port.
    Services(Vec<(&'static str, u16)>),
    Fails,
}

/// Ends when it is dropped.
pub(crate) struct DnsServer {
    pub(crate) address: SocketAddr,
    names: Arc<Mutex<BTreeMap<String, Records>>>,
    task: JoinHandle<()>,
}

impl DnsServer {
    pub(crate) async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let names = Arc::<Mutex<BTreeMap<String, Records>>>::default();
        let known = Arc::clone(&names);
        let task = tokio::spawn(async move {
            let mut query = [0; 1_500];
            loop {
                let (length, from) = socket.recv_from(&mut query).await.unwrap();
                let answer = answer(&query[..length], &known.lock().unwrap());
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        Self { address, names, task }
    }

    pub(crate) fn set(&self, name: &str, records: Records) {
        self.names.lock().unwrap().insert(name.to_owned(), records);
    }

    pub(crate) fn forget(&self, name: &str) {
        self.names.lock().unwrap().remove(name);
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// RFC 1035: header of 12 bytes, the question as it was asked, an answer for each record with a pointer to the question's name.
fn answer(query: &[u8], names: &BTreeMap<String, Records>) -> Vec<u8> {
    let (mut labels, mut at) = (Vec::new(), 12);
    while query[at] > 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_lowercase());
        at = end;
    }
    let question = &query[12..at + 5];
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let found = names.get(&labels.join("."));
    let data: Vec<Vec<u8>> = match (found, kind) {
        (Some(Records::Addresses(addresses)), A | AAAA) => addresses
            .iter()
            .filter_map(|address| match (address, kind) {
                (IpAddr::V4(address), A) => Some(address.octets().to_vec()),
                (IpAddr::V6(address), AAAA) => Some(address.octets().to_vec()),
                _ => None,
            })
            .collect(),
        (Some(Records::Services(services)), SRV) => services
            .iter()
            .map(|(target, port)| {
                let mut data = vec![0, 0, 0, 0];
                data.extend(port.to_be_bytes());
                for label in target.split('.') {
                    data.push(u8::try_from(label.len()).unwrap());
                    data.extend(label.bytes());
                }
                data.push(0);
                data
            })
            .collect(),
        _ => Vec::new(),
    };
    let code: u8 = match found {
        Some(Records::Fails) => 2,
        Some(_) => 0,
        None => 3,
    };
    let mut answer = query[..2].to_vec();
    answer.extend([0x85, 0x80 | code, 0, 1]);
    answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    answer.extend([0, 0, 0, 0]);
    answer.extend(question);
    for data in data {
        answer.extend([0xc0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0, 60]);
        answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        answer.extend(data);
    }
    answer
}

const A: u16 = 1;
const AAAA: u16 = 28;
const SRV: u16 = 33;
