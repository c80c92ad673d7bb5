use super::*;

const SECRET: &str = "00000000000000000000000000000000";
const OTHER: &str = "11111111111111111111111111111111";

fn address(text: &str) -> NodeAddress {
    text.parse().unwrap()
}

fn party(address: &str, secret: &str) -> Party {
    let me = NodeId { address: address.parse().unwrap(), incarnation: Incarnation(address.len() as u64) };
    let secrets = if secret.is_empty() { Secrets::default() } else { Secrets::parse(secret).unwrap() };
    Party { me, wires: 1..=2, secrets, binding: vec![7; 32], nonce: [address.len() as u8; 32] }
}

/// What stands in the one frame of these bytes.
fn frame(bytes: &Bytes, skip: usize) -> Bytes {
    bytes.slice(skip + super::super::frame::HEADER..)
}

fn trusting(_: &NodeAddress) -> Result<(), String> {
    Ok(())
}

/// Both until they agree, or one refuses; what the acceptor refuses reaches the initiator.
fn meet(one: Party, to: &str, other: Party) -> Result<(Agreed, Agreed), Refusal> {
    let (mut initiator, hello) = Initiator::begin(one, address(to), Lane::Bulk);
    assert_eq!(hello[..8], PREAMBLE);
    let mut acceptor = Acceptor::new(other, [100, 200]);
    let accept = |acceptor: &mut Acceptor, frame: &Bytes| {
        acceptor.received(frame, &trusting).inspect_err(|refusal| {
            let told = Refusal::of_wire(&refusal.clone().into_wire());
            assert_eq!(told.kind, refusal.kind);
            assert!(told.reason.ends_with(&refusal.reason));
        })
    };
    let Progress::Send(challenge) = accept(&mut acceptor, &frame(&hello, 8))? else { panic!("no challenge") };
    let Progress::Send(proof) = initiator.received(&frame(&challenge, 0))? else { panic!("no proof") };
    let Progress::Done(theirs, Some(accepted)) = accept(&mut acceptor, &frame(&proof, 0))? else {
        panic!("not accepted")
    };
    let Progress::Done(ours, None) = initiator.received(&frame(&accepted, 0))? else { panic!("not done") };
    Ok((ours, theirs))
}

#[test]
fn two_nodes_agree_on_who_they_are_and_what_they_speak() {
    for secret in ["", SECRET] {
        let older = Party { wires: 1..=1, ..party("a:1", secret) };
        let (ours, theirs) = meet(older, "bb:22", party("bb:22", secret)).unwrap();
        assert_eq!(ours.peer, NodeId { address: address("bb:22"), incarnation: Incarnation(5) });
        assert_eq!(theirs.peer, NodeId { address: address("a:1"), incarnation: Incarnation(3) });
        assert_eq!((ours.wire, theirs.wire, ours.lane, theirs.lane), (1, 1, Lane::Bulk, Lane::Bulk));
        assert_eq!(ours.most_bytes, 200);
    }
}

#[test]
fn who_does_not_fit_is_refused_with_a_kind_and_a_sentence() {
    let kind = |one, to, other| meet(one, to, other).expect_err("should be refused").kind;
    assert_eq!(kind(party("a:1", SECRET), "bb:22", party("bb:22", OTHER)), RefusalKind::Secret);
    assert_eq!(kind(party("a:1", ""), "bb:22", party("bb:22", OTHER)), RefusalKind::Secret);
    assert_eq!(kind(party("a:1", SECRET), "bb:22", party("bb:22", "")), RefusalKind::Secret);
    assert_eq!(kind(party("a:1", ""), "c:3", party("bb:22", "")), RefusalKind::Address);
    assert_eq!(kind(party("bb:22", ""), "bb:22", party("bb:22", "")), RefusalKind::Address);
    let newer = Party { wires: 3..=4, ..party("a:1", "") };
    assert_eq!(kind(newer, "bb:22", party("bb:22", "")), RefusalKind::Version);
}

#[test]
fn a_proof_does_not_count_in_another_channel() {
    let elsewhere = Party { binding: vec![8; 32], ..party("a:1", SECRET) };
    let refused = meet(elsewhere, "bb:22", party("bb:22", SECRET)).expect_err("should be refused");
    assert_eq!(refused.kind, RefusalKind::Secret);
}

#[test]
fn who_has_no_certificate_for_its_host_is_refused() {
    let (_, hello) = Initiator::begin(party("a:1", ""), address("bb:22"), Lane::Control);
    let mut acceptor = Acceptor::new(party("bb:22", ""), [1, 1]);
    let refused = acceptor.received(&frame(&hello, 8), &|_| Err("it names b alone".to_owned()));
    assert_eq!(refused, Err(Refusal::new(RefusalKind::Certificate, "it names b alone")));
}

#[test]
fn a_recorded_handshake_proves_nothing_later() {
    let (mut initiator, hello) = Initiator::begin(party("a:1", SECRET), address("bb:22"), Lane::Control);
    let mut acceptor = Acceptor::new(party("bb:22", SECRET), [1, 1]);
    let Ok(Progress::Send(challenge)) = acceptor.received(&frame(&hello, 8), &trusting) else { panic!() };
    let Ok(Progress::Send(proof)) = initiator.received(&frame(&challenge, 0)) else { panic!() };
    assert!(matches!(acceptor.received(&frame(&proof, 0), &trusting), Ok(Progress::Done(..))));

    let mut later = Acceptor::new(Party { nonce: [99; 32], ..party("bb:22", SECRET) }, [1, 1]);
    assert!(matches!(later.received(&frame(&hello, 8), &trusting), Ok(Progress::Send(_))));
    let refused = later.received(&frame(&proof, 0), &trusting).expect_err("should be refused");
    assert_eq!(refused.kind, RefusalKind::Secret);
}

#[test]
fn what_is_damaged_is_refused_and_never_a_panic() {
    let mut random = crate::Random::new(3);
    let (_, hello) = Initiator::begin(party("a:1", SECRET), address("bb:22"), Lane::Control);
    let hello = frame(&hello, 8);
    let mut refused = 0;
    for _ in 0..20_000 {
        let mut damaged = hello.to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(damaged.len() as u64) as usize;
            damaged[at] = random.number() as u8;
        }
        damaged.truncate(random.below(hello.len() as u64 * 2) as usize);
        let damaged = Bytes::from(damaged);
        let mut acceptor = Acceptor::new(party("bb:22", SECRET), [1, 1]);
        refused += u32::from(acceptor.received(&damaged, &trusting).is_err());
        let (mut initiator, _) = Initiator::begin(party("a:1", SECRET), address("bb:22"), Lane::Bulk);
        assert!(initiator.received(&damaged).is_err() || damaged.is_empty());
    }
    assert!(refused > 10_000, "{refused}");
}
