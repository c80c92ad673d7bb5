//! Searches for bytes that make a decoder of the transport panic, reserve too much, or accept what it should not. `ANNALS_SEED=7` runs one
//! case; `ANNALS_TIME_BUDGET_SECS=60` searches for so long.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};

use super::frame::{FrameReader, HEADER, put_frame};
use super::handshake::{Acceptor, Initiator, Party};
use super::hello::{Accepted, AcceptorBody, Challenge, FromAcceptor, Proof};
use super::lane::Lane;
use super::parcel::{FailureKind, Label, Outcome, Parcel, ParcelReader, ParcelWriter, Recipient};
use super::secret::Secrets;
use crate::{Incarnation, Message, NodeId, Random};

const QUICK: u64 = 20_000;

#[test]
fn no_bytes_make_a_decoder_panic_or_reserve_too_much() {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    if let Some(seed) = number("ANNALS_SEED") {
        return case(seed);
    }
    let budget = number("ANNALS_TIME_BUDGET_SECS").map(Duration::from_secs);
    let begin = Instant::now();
    let fresh = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
    let mut done = 0;
    while done < QUICK || budget.is_some_and(|budget| begin.elapsed() < budget) {
        case(fresh.wrapping_add(done));
        done += 1;
    }
    println!("{done} cases");
}

/// Says which seed it was.
struct Blame(u64);

impl Drop for Blame {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("found by ANNALS_SEED={}", self.0);
        }
    }
}

fn case(seed: u64) {
    let _blame = Blame(seed);
    let mut random = Random::new(seed);
    let mut bytes = conversation(&mut random).to_vec();
    damage(&mut random, &mut bytes);
    let most = [64, 1_000, 1 << 24][random.below(3) as usize];
    let frames = read(&mut random, &bytes, most);
    let lane = [Lane::Control, Lane::Bulk][random.below(2) as usize];
    let mut parcels = ParcelReader::new(lane);
    for frame in &frames {
        match parcels.read(frame.clone()) {
            Ok(Some(Parcel::Membership { message, .. })) => again(&message),
            Ok(Some(parcel)) => assert_eq!(parcel.lane(), lane),
            Ok(None) => {}
            Err(_) => break,
        }
    }
    again(&bytes.into());
    shake_hands(&frames);
}

/// What is a message is one still when it is written and read once more.
fn again(bytes: &Bytes) {
    if let Ok(message) = Message::decode(bytes) {
        let written = message.encode();
        let read = Message::decode(&written).expect("what was written");
        assert_eq!(format!("{read:?}"), format!("{message:?}"));
    }
}

/// Frames as a connection gives them, in pieces; what is reserved is bounded by what has come.
fn read(random: &mut Random, bytes: &[u8], most: usize) -> Vec<Bytes> {
    let (reader, mut received, mut frames) = (FrameReader { most }, BytesMut::new(), Vec::new());
    let mut rest = bytes;
    while !rest.is_empty() {
        let piece = 1 + random.below(rest.len() as u64) as usize;
        received.extend_from_slice(&rest[..piece]);
        rest = &rest[piece..];
        loop {
            match reader.next(&mut received) {
                Ok(Some(frame)) => {
                    assert!(frame.len() <= most);
                    frames.push(frame);
                }
                Ok(None) => break,
                Err(_) => return frames,
            }
        }
        assert!(received.capacity() <= 4 * (bytes.len() + 64 * 1_024), "{}", received.capacity());
    }
    frames
}

/// Nobody gets in who does not know the secret.
fn shake_hands(frames: &[Bytes]) {
    let mut acceptor = Acceptor::new(party("bb:22", 1), [1, 1]);
    for frame in frames {
        match acceptor.received(frame, &|_| Ok(())) {
            Ok(super::handshake::Progress::Done(..)) => panic!("accepted"),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    let (mut initiator, _) =
        Initiator::begin(party("a:1", 2), "bb:22".parse().expect("an address"), Lane::Bulk);
    for frame in frames {
        match initiator.received(frame) {
            Ok(super::handshake::Progress::Done(..)) => panic!("accepted"),
            Ok(_) => {}
            Err(_) => break,
        }
    }
}

fn party(address: &str, nonce: u8) -> Party {
    let me = NodeId { address: address.parse().expect("an address"), incarnation: Incarnation(1) };
    let secrets = Secrets::parse(&"s".repeat(32)).expect("a secret");
    Party { me, wires: 1..=2, secrets, binding: Vec::new(), nonce: [nonce; 32] }
}

/// Frames as a node sends them.
fn conversation(random: &mut Random) -> BytesMut {
    let mut out = BytesMut::new();
    let mut parcels = ParcelWriter::new(1 + random.below(2) as u32);
    let message = crate::wire::samples();
    for _ in 0..=random.below(6) {
        let bytes = Bytes::from(vec![random.number() as u8; random.below(200) as usize]);
        let to = Recipient { name: format!("a{}", random.below(3)).into(), manifest: Label::Static("m") };
        let question = random.number();
        match random.below(9) {
            0 => {
                let message = random.pick(&message).expect("there are some").encode();
                let (from, to) = (Incarnation(random.number()), random.chance(500).then_some(Incarnation(1)));
                parcels.put(&mut out, Parcel::Membership { from, to, message });
            }
            1 => parcels.put(&mut out, Parcel::Tell { to, message: bytes }),
            2 => parcels.put(
                &mut out,
                Parcel::Ask { to, message: bytes, question, limit: Duration::from_millis(question) },
            ),
            3 => {
                parcels.put(
                    &mut out,
                    Parcel::Answer { question, outcome: Outcome::failed(FailureKind::Unknown, "no") },
                );
            }
            4 => parcels.put(&mut out, Parcel::Watch { name: to.name, actor: Some(question), question }),
            5 => {
                let (_, hello) =
                    Initiator::begin(party("a:1", 2), "bb:22".parse().expect("an address"), Lane::Bulk);
                out.extend_from_slice(&hello[8..]);
            }
            6 => put_frame(&mut out, &Proof { proof: vec![1; 32] }),
            7 => {
                let body = Some(AcceptorBody::Challenge(Challenge { nonce: vec![1; 32], wire: 2 }));
                put_frame(&mut out, &FromAcceptor { body });
            }
            _ => {
                let accepted = Accepted { proof: vec![1; 32], incarnation: 1, most_bytes: 1 };
                put_frame(&mut out, &FromAcceptor { body: Some(AcceptorBody::Accepted(accepted)) });
            }
        }
    }
    out
}

/// Bits, bytes, lengths; pieces that are doubled, moved, cut out and cut off.
fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..random.below(5) {
        if bytes.len() < 2 {
            return;
        }
        let at = random.below(bytes.len() as u64) as usize;
        let to = at + random.below((bytes.len() - at) as u64) as usize;
        match random.below(7) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.number() as u8,
            2 => bytes[at] = [0, 1, 0x7F, 0x80, 0xFF][random.below(5) as usize],
            3 => drop(bytes.drain(at..to)),
            4 => {
                let piece = bytes[at..to].to_vec();
                bytes.splice(at..at, piece);
            }
            5 => bytes.truncate(at),
            _ => {
                let length = (random.number() as u32 >> random.below(32)).to_be_bytes();
                let end = (at + HEADER).min(bytes.len());
                bytes.splice(at..end, length);
            }
        }
    }
}
