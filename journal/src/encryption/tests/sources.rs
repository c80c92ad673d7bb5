use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::sample::{id, ring, to_seal};
use crate::encryption::{
    DataKeyOptions, DataKeys, InvalidRing, KeySource, KeyUsage, KeysError, MasterKeyId, Ring, RingKeys,
};
use crate::{MemoryJournal, Records};

/// Looks often, so that nobody waits long.
fn options() -> DataKeyOptions {
    DataKeyOptions { watch: Duration::from_millis(10), ..DataKeyOptions::default() }
}

fn write(path: &Path, ring: &Ring) {
    fs::write(path, ring.to_json().as_bytes()).unwrap();
}

async fn opened(path: &Path, records: &Arc<MemoryJournal>) -> DataKeys {
    let masters = RingKeys::open(&[KeySource::File(path.to_owned())], &**records).await.unwrap();
    DataKeys::open(records.clone(), Arc::new(masters), options()).await.unwrap()
}

/// Waits until the one process that runs has announced these keys.
async fn announced(records: &dyn Records, wanted: &[u32]) {
    let mut announced = Vec::new();
    for _ in 0..3_000 {
        let usage = KeyUsage::read(records, |_| ()).await.unwrap();
        announced = usage.processes[0].master_keys.iter().map(|id| id.0).collect();
        if announced == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("announced are {announced:?}, and not {wanted:?}");
}

#[tokio::test]
async fn a_file_that_is_replaced_by_rename_is_taken_over_and_announced() {
    let (home, records) = (tempfile::tempdir().unwrap(), Arc::new(MemoryJournal::new()));
    let path = home.path().join("ring.json");
    write(&path, &ring(1, &[1]));
    let keys = opened(&path, &records).await;
    announced(&*records, &[1]).await;
    write(&home.path().join("new.json"), &ring(2, &[1, 2]));
    fs::rename(home.path().join("new.json"), &path).unwrap();
    announced(&*records, &[1, 2]).await;
    to_seal(&keys, &id("alice"), 1).await.unwrap();
}

#[tokio::test]
#[cfg(unix)]
async fn a_secret_that_is_swapped_as_kubernetes_does_it_is_taken_over() {
    use std::os::unix::fs::symlink;
    let (home, records) = (tempfile::tempdir().unwrap(), Arc::new(MemoryJournal::new()));
    for (version, ring) in [("..v1", ring(1, &[1])), ("..v2", ring(2, &[1, 2]))] {
        fs::create_dir(home.path().join(version)).unwrap();
        write(&home.path().join(version).join("ring.json"), &ring);
    }
    symlink("..v1", home.path().join("..data")).unwrap();
    symlink("..data/ring.json", home.path().join("ring.json")).unwrap();
    let _keys = opened(&home.path().join("ring.json"), &records).await;
    announced(&*records, &[1]).await;
    symlink("..v2", home.path().join("..data_tmp")).unwrap();
    fs::rename(home.path().join("..data_tmp"), home.path().join("..data")).unwrap();
    fs::remove_dir_all(home.path().join("..v1")).unwrap();
    announced(&*records, &[1, 2]).await;
}

#[tokio::test]
async fn a_broken_file_or_one_without_a_needed_key_is_refused_and_the_old_ring_kept() {
    let (home, records) = (tempfile::tempdir().unwrap(), Arc::new(MemoryJournal::new()));
    let path = home.path().join("ring.json");
    write(&path, &ring(1, &[1, 3]));
    let keys = opened(&path, &records).await;
    to_seal(&keys, &id("alice"), 1).await.unwrap();
    let mut wrong = Ring::generate().unwrap();
    wrong.add().unwrap();
    let (without, wrong) = (ring(3, &[3]).to_json(), wrong.to_json());
    let broken: [(&[u8], &str); 4] = [
        (br#"{"active":2,"ke"#, "InvalidRing"),
        (without.as_bytes(), "MissingMasterKeys"),
        (wrong.as_bytes(), "WrongMasterKey"),
        (b"", "InvalidRing"),
    ];
    for (text, why) in broken {
        fs::write(&path, text).unwrap();
        let store = &keys.shared.store;
        let refused = store.reload(&store.masters()).await.unwrap_err();
        assert!(format!("{refused:?}").starts_with(why), "{refused:?}");
        keys.forget(&id("alice"));
        to_seal(&keys, &id("alice"), 2).await.unwrap();
        assert_eq!(store.masters().ids(), [MasterKeyId(1), MasterKeyId(3)]);
    }
    write(&path, &ring(2, &[1, 2]));
    announced(&*records, &[1, 2]).await;
}

#[tokio::test]
async fn of_several_sources_the_first_is_active_and_none_contradicts_another() {
    let (home, records) = (tempfile::tempdir().unwrap(), MemoryJournal::new());
    let source = |name: &str, ring: &Ring| {
        write(&home.path().join(name), ring);
        KeySource::File(home.path().join(name))
    };
    let (new, old) = (source("new", &ring(2, &[2, 3])), source("old", &ring(1, &[1, 2])));
    let both = RingKeys::open(&[new.clone(), old], &records).await.unwrap();
    assert_eq!(format!("{both:?}").matches("Ring { active: 2, keys: [1, 2, 3] }").count(), 1, "{both:?}");
    let other = source("other", &Ring::generate().unwrap());
    let again = source("again", &ring(1, &[1]));
    let refused = RingKeys::open(&[again, other], &records).await.unwrap_err();
    assert!(
        matches!(&refused, KeysError::InvalidRing { place, error: InvalidRing::Duplicate { id: MasterKeyId(1) } } if place.ends_with("other")),
        "{refused}"
    );
    assert!(matches!(RingKeys::open(&[], &records).await, Err(KeysError::NoSource)));
}
