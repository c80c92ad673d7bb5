use super::{OpenError, Options};

/// What a URL says.
pub(super) struct Address {
    pub(super) user: Option<(String, String)>,
    pub(super) nodes: Vec<String>,
    pub(super) keyspace: String,
}

impl Address {
    pub(super) fn of(url: &str) -> Result<Self, OpenError> {
        let wrong = |reason: &str| OpenError::Url { reason: reason.to_owned() };
        let rest = url.strip_prefix("cassandra://").ok_or_else(|| wrong("it begins with cassandra://"))?;
        let (servers, keyspace) = rest.rsplit_once('/').ok_or_else(|| {
            wrong("write a keyspace behind the address, such as cassandra://127.0.0.1:9042/bank")
        })?;
        if !Options::is_name(keyspace) {
            return Err(wrong("a keyspace is 1 to 48 lower-case letters, digits and _, a letter first"));
        }
        let (user, servers) = match servers.rsplit_once('@') {
            None => (None, servers),
            Some((user, servers)) => {
                let (user, password) =
                    user.split_once(':').ok_or_else(|| wrong("a user has a password: USER:PASSWORD@"))?;
                (Some((user.to_owned(), password.to_owned())), servers)
            }
        };
        let nodes: Vec<_> = servers
            .split(',')
            .filter(|node| !node.is_empty())
            .map(|node| if node.contains(':') { node.to_owned() } else { format!("{node}:9042") })
            .collect();
        if nodes.is_empty() {
            return Err(wrong("write an address, such as cassandra://127.0.0.1:9042/bank"));
        }
        Ok(Self { user, nodes, keyspace: keyspace.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_nodes_and_a_keyspace() {
        let address = Address::of("cassandra://annals:ses@me@a,b:9043/bank").unwrap();
        assert_eq!(address.nodes, ["a:9042", "b:9043"]);
        assert_eq!(address.keyspace, "bank");
        assert_eq!(address.user, Some(("annals".into(), "ses@me".into())));
        for (url, said) in [
            ("cassandra://a", "keyspace"),
            ("cassandra:///bank", "address"),
            ("cassandra://a/Bank", "lower-case"),
            ("cassandra://annals@a/bank", "password"),
        ] {
            let Err(error) = Address::of(url) else { panic!("{url} was taken") };
            assert!(error.to_string().contains(said), "{url}: {error}");
        }
    }
}
