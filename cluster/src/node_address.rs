use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Where a node listens, as others reach it: host and port. Ordered by host, then port: leaders, ties and candidates go by this order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeAddress {
    host: Arc<str>,
    port: u16,
}

impl NodeAddress {
    /// # Errors
    ///
    /// When the host is empty, longer than 253 bytes, or has white space or control characters in it.
    pub fn new(host: &str, port: u16) -> Result<Self, InvalidAddress> {
        let fits = !host.is_empty() && host.len() <= 253;
        if !fits || host.chars().any(|character| character.is_whitespace() || character.is_control()) {
            return Err(InvalidAddress(host.chars().take(64).collect()));
        }
        Ok(Self { host: host.into(), port })
    }

    /// Name or IP address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for NodeAddress {
    type Err = InvalidAddress;

    /// Reads `host:port` and `[v6]:port`.
    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress(text.chars().take(64).collect());
        let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if bare.is_none() && host.contains(':') {
            return Err(invalid());
        }
        Self::new(bare.unwrap_or(host), port.parse().map_err(|_| invalid())?)
    }
}

/// No address of a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address of a node: write host:port, with an IPv6 address in brackets")]
pub struct InvalidAddress(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_shown() {
        for text in ["a:1", "node-1.internal:2552", "127.0.0.1:80", "[::1]:9"] {
            assert_eq!(text.parse::<NodeAddress>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_a_remedy() {
        for text in ["", "a", "a:", ":1", "a:70000", "a b:1", "::1:9"] {
            let error = text.parse::<NodeAddress>().expect_err(text);
            assert!(error.to_string().contains("write host:port"), "{error}");
        }
    }
}
