use super::super::frame::{FrameReader, HEADER};
use super::*;

fn recipient(name: &str) -> Recipient {
    Recipient { name: name.into(), manifest: Label::Static("till.add") }
}

fn tell(name: &str) -> Parcel {
    Parcel::Tell { to: recipient(name), message: Bytes::from_static(b"hi") }
}

fn every_kind() -> Vec<Parcel> {
    let message = Bytes::from_static(b"hi");
    let answer = |outcome| Parcel::Answer { question: 300, outcome };
    let failed = |kind| answer(Outcome::Failed { kind, reason: "why".to_owned() });
    let limit = Duration::from_secs(3);
    vec![
        tell("till"),
        Parcel::Ask { to: recipient("till"), message: message.clone(), question: 300, limit },
        Parcel::Ask { to: recipient("vault"), message: message.clone(), question: 301, limit },
        answer(Outcome::Answered(message)),
        failed(FailureKind::Unknown),
        failed(FailureKind::Refused),
        failed(FailureKind::NoReply),
        failed(FailureKind::TimedOut),
        failed(FailureKind::TooLarge),
        answer(Outcome::Runs { actor: 7 }),
        answer(Outcome::Ended),
        Parcel::Watch { name: "till".into(), actor: None, question: 302 },
        Parcel::Watch { name: "till".into(), actor: Some(7), question: 303 },
        tell("vault"),
    ]
}

fn membership() -> Parcel {
    let message = crate::Message::RequestVote.encode();
    Parcel::Membership { from: Incarnation(5), to: Some(Incarnation(6)), message }
}

fn written(wire: u32, parcels: impl IntoIterator<Item = Parcel>) -> BytesMut {
    let (mut writer, mut out) = (ParcelWriter::new(wire), BytesMut::new());
    parcels.into_iter().for_each(|parcel| writer.put(&mut out, parcel));
    out
}

fn read(lane: Lane, mut bytes: BytesMut) -> Vec<Parcel> {
    let (mut reader, frames) = (ParcelReader::new(lane), FrameReader { most: 1_000 });
    let mut parcels = Vec::new();
    while let Some(frame) = frames.next(&mut bytes).unwrap() {
        parcels.push(reader.read(frame).unwrap().expect("a kind that is known"));
    }
    parcels
}

#[test]
fn every_parcel_comes_back_as_it_was_in_both_versions() {
    for wire in [1, 2] {
        assert_eq!(read(Lane::Bulk, written(wire, every_kind())), every_kind());
        assert_eq!(read(Lane::Control, written(wire, [membership()])), [membership()]);
    }
}

/// What version 1 and version 2 looked like when they were made, for ever.
#[test]
fn the_bytes_of_both_versions_are_those_of_the_golden_files() {
    for (wire, golden) in [(1, include_str!("golden/wire-1.hex")), (2, include_str!("golden/wire-2.hex"))] {
        let hex = |bytes: &BytesMut| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut lines = Vec::new();
        for (lane, parcels) in [(Lane::Control, vec![membership()]), (Lane::Bulk, every_kind())] {
            let mut rest = written(wire, parcels.clone());
            assert_eq!(read(lane, rest.clone()), parcels);
            while !rest.is_empty() {
                let length = u32::from_be_bytes(rest[..HEADER].try_into().unwrap()) as usize;
                lines.push(hex(&rest.split_to(HEADER + length)));
            }
        }
        assert_eq!(lines.join("\n"), golden.trim_end(), "wire version {wire}");
    }
}

#[test]
fn a_recipient_is_named_once_in_a_connection() {
    let once = written(2, [tell("till")]).len();
    let twice = written(2, [tell("till"), tell("till")]).len();
    assert!(twice - once < 16, "{once}, {twice}");
    let many: Vec<_> = (0..2 * MOST_NUMBERED).map(|n| tell(&format!("till-{n}"))).collect();
    assert_eq!(read(Lane::Bulk, written(2, many.clone())), many);
}

#[test]
fn numbers_that_were_not_given_and_frames_of_the_other_lane_end_the_connection() {
    let wire = |number, name: &str| {
        let to = Some(WireRecipient { number, name: name.to_owned(), manifest: String::new() });
        Bytes::from(Envelope { body: Some(Body::Tell(Tell { to, message: Bytes::new() })) }.encode_to_vec())
    };
    for (number, name) in [(0, ""), (1, ""), (2, "skips"), (u32::MAX, "much too high")] {
        let read = ParcelReader::new(Lane::Bulk).read(wire(number, name));
        assert!(matches!(read, Err(InvalidParcel::Recipient)), "{number}");
    }
    let bulk = written(2, [tell("till")]).split_off(HEADER).freeze();
    assert!(matches!(ParcelReader::new(Lane::Control).read(bulk), Err(InvalidParcel::Lane(_))));
}

#[test]
fn what_a_newer_build_says_is_passed_over() {
    let unknown = Bytes::from_static(&[0xFA, 0x07, 0x02, 0x08, 0x01]);
    assert_eq!(ParcelReader::new(Lane::Bulk).read(unknown).unwrap(), None);
}

#[test]
fn damaged_frames_are_errors_and_never_panics() {
    let mut random = crate::Random::new(9);
    let mut refused = 0;
    for _ in 0..3_000 {
        for wire in [1, 2] {
            let mut damaged = written(wire, every_kind());
            for _ in 0..=random.below(6) {
                let at = random.below(damaged.len() as u64) as usize;
                damaged[at] = random.number() as u8;
            }
            let (frames, mut reader) = (FrameReader { most: 1_000 }, ParcelReader::new(Lane::Bulk));
            loop {
                match frames.next(&mut damaged) {
                    Ok(Some(frame)) => refused += u32::from(reader.read(frame).is_err()),
                    Ok(None) => break,
                    Err(_) => {
                        refused += 1;
                        break;
                    }
                }
            }
        }
    }
    assert!(refused > 1_000, "{refused}");
}
