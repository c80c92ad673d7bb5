//! A file that is sealed under a passphrase.
//!
//! ```text
//! "annals sealed\n"  14 bytes
//! format              1  1
//! memory, passes, lanes  4 + 4 + 4, big endian: parameters of Argon2id (memory in KiB)
//! salt               16  random
//! nonce               7  random
//! chunk ...              65,536 bytes of text and 16 of its tag; the last chunk has fewer, or none
//! ```
//!
//! The key is `Argon2id(passphrase, salt)`, 32 bytes. The chunks are the STREAM construction over AES-256-GCM: the nonce of a chunk
//! is the 7 bytes, its number in 4, and a byte that is 1 for the last. So a chunk that is changed, moved, left out or cut off is
//! found, and the end of a file that was cut is no end. All bytes before the chunks are authenticated with each of them.

use std::io::{self, Read, Write};

use aead_stream::{DecryptorBE32, EncryptorBE32};
use aes_gcm::aead::Payload;
use aes_gcm::{Aes256Gcm, KeyInit as _};
use anyhow::{Context as _, bail};
use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use crate::passphrase::Passphrase;

/// Writes a sealed file. What is not [finished](Self::finish) cannot be read.
pub(crate) struct SealingWriter<W> {
    out: W,
    header: [u8; HEADER],
    stream: EncryptorBE32<Aes256Gcm>,
    text: Vec<u8>,
}

impl<W: Write> SealingWriter<W> {
    pub(crate) fn new(out: W, passphrase: &Passphrase) -> anyhow::Result<Self> {
        Self::with_memory(out, passphrase, MEMORY_KIB)
    }

    fn with_memory(mut out: W, passphrase: &Passphrase, memory: u32) -> anyhow::Result<Self> {
        let header =
            Header { memory, passes: PASSES, lanes: LANES, salt: rand::random(), nonce: rand::random() };
        let cipher = header.cipher(passphrase)?;
        let stream = EncryptorBE32::from_aead(cipher, (&header.nonce).into());
        let header = header.encode();
        out.write_all(&header)?;
        Ok(Self { out, header, stream, text: Vec::with_capacity(CHUNK) })
    }

    /// Writes the last chunk; answers what it was written to.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        let payload = Payload { msg: &self.text, aad: &self.header };
        let sealed =
            self.stream.encrypt_last(payload).map_err(|_| io::Error::other("the export is too large"))?;
        self.out.write_all(&sealed)?;
        Ok(self.out)
    }
}

impl<W: Write> Write for SealingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full chunk waits for more: the last one is sealed in another way.
        if self.text.len() == CHUNK && !bytes.is_empty() {
            let payload = Payload { msg: &self.text, aad: &self.header };
            let sealed =
                self.stream.encrypt_next(payload).map_err(|_| io::Error::other("the export is too large"))?;
            self.out.write_all(&sealed)?;
            self.text.clear();
        }
        let taken = bytes.len().min(CHUNK - self.text.len());
        self.text.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Reads a sealed file. No byte of a chunk is given before the chunk was found authentic.
pub(crate) struct OpeningReader<R> {
    input: R,
    header: [u8; HEADER],
    /// `None`: the last chunk was read.
    stream: Option<DecryptorBE32<Aes256Gcm>>,
    text: Vec<u8>,
    given: usize,
    /// The first byte of the chunk that is next: a chunk without one behind it is the last.
    next: Option<u8>,
}

impl<R: Read> OpeningReader<R> {
    /// Begins with the header; [`is_sealed`] said that there is one.
    pub(crate) fn new(mut input: R, passphrase: &Passphrase) -> anyhow::Result<Self> {
        let mut header = [0; HEADER];
        input.read_exact(&mut header).context("the file is cut off within its header")?;
        let parsed = Header::decode(&header)?;
        let cipher = parsed.cipher(passphrase)?;
        let stream = Some(DecryptorBE32::from_aead(cipher, (&parsed.nonce).into()));
        let mut reader = Self { input, header, stream, text: Vec::new(), given: 0, next: None };
        reader.next = reader.read_byte()?;
        // Now, so that a wrong passphrase is said before anything is done.
        reader.open_next()?;
        Ok(reader)
    }

    fn open_next(&mut self) -> io::Result<()> {
        let Some(mut stream) = self.stream.take() else { return Ok(()) };
        let mut sealed = Vec::with_capacity(CHUNK + TAG + 1);
        sealed.extend(self.next.take());
        (&mut self.input).take((CHUNK + TAG - sealed.len()) as u64).read_to_end(&mut sealed)?;
        self.next = if sealed.len() == CHUNK + TAG { self.read_byte()? } else { None };
        let payload = Payload { msg: &sealed, aad: &self.header };
        let opened = if self.next.is_some() {
            let opened = stream.decrypt_next(payload);
            self.stream = Some(stream);
            opened
        } else {
            stream.decrypt_last(payload)
        };
        self.text = opened.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, NOT_AUTHENTIC))?;
        self.given = 0;
        Ok(())
    }

    fn read_byte(&mut self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        loop {
            match self.input.read(&mut byte) {
                Ok(0) => return Ok(None),
                Ok(_) => return Ok(Some(byte[0])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl<R: Read> Read for OpeningReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.given == self.text.len() {
            self.open_next()?;
        }
        let count = into.len().min(self.text.len() - self.given);
        into[..count].copy_from_slice(&self.text[self.given..self.given + count]);
        self.given += count;
        if self.given == self.text.len() && self.stream.is_none() {
            self.text = Vec::new();
            self.given = 0;
        }
        Ok(count)
    }
}

/// Whether a file that begins with these bytes is a sealed one.
pub(crate) fn is_sealed(begins: &[u8]) -> bool {
    begins.starts_with(MAGIC)
}

struct Header {
    memory: u32,
    passes: u32,
    lanes: u32,
    salt: [u8; 16],
    nonce: [u8; 7],
}

impl Header {
    fn encode(&self) -> [u8; HEADER] {
        let parts: [&[u8]; 7] = [
            MAGIC,
            &[FORMAT],
            &self.memory.to_be_bytes(),
            &self.passes.to_be_bytes(),
            &self.lanes.to_be_bytes(),
            &self.salt,
            &self.nonce,
        ];
        let mut header = [0; HEADER];
        for (byte, from) in header.iter_mut().zip(parts.into_iter().flatten()) {
            *byte = *from;
        }
        header
    }

    fn decode(bytes: &[u8; HEADER]) -> anyhow::Result<Self> {
        let mut rest = &bytes[MAGIC.len()..];
        let [format] = take(&mut rest);
        if format != FORMAT {
            bail!("the file has format {format}, this build reads format {FORMAT}: run a newer build");
        }
        let header = Self {
            memory: u32::from_be_bytes(take(&mut rest)),
            passes: u32::from_be_bytes(take(&mut rest)),
            lanes: u32::from_be_bytes(take(&mut rest)),
            salt: take(&mut rest),
            nonce: take(&mut rest),
        };
        // They are not authentic before the key is made of them: nobody may ask for all of our memory.
        if header.memory > MOST_MEMORY_KIB || header.passes > MOST_PASSES || header.lanes > MOST_LANES {
            bail!(
                "the file asks for {} KiB of memory, {} passes and {} lanes to make its key, which no export does",
                header.memory,
                header.passes,
                header.lanes
            );
        }
        Ok(header)
    }

    fn cipher(&self, passphrase: &Passphrase) -> anyhow::Result<Aes256Gcm> {
        let params = Params::new(self.memory, self.passes, self.lanes, Some(KEY))
            .map_err(|error| anyhow::anyhow!("the parameters of Argon2id: {error}"))?;
        let mut key = Zeroizing::new([0; KEY]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.as_bytes(), &self.salt, key.as_mut())
            .map_err(|error| anyhow::anyhow!("no key can be made of the passphrase: {error}"))?;
        Ok(Aes256Gcm::new((&*key).into()))
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let mut taken = [0; N];
    let count = N.min(rest.len());
    taken[..count].copy_from_slice(&rest[..count]);
    *rest = &rest[count..];
    taken
}

const MAGIC: &[u8] = b"annals sealed\n";
const FORMAT: u8 = 1;
const HEADER: usize = MAGIC.len() + 1 + 12 + 16 + 7;
const KEY: usize = 32;
const CHUNK: usize = 64 * 1024;
const TAG: usize = 16;
/// RFC 9106's second choice: 64 MiB, 3 passes, 4 lanes.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 4;
const MOST_MEMORY_KIB: u32 = 1024 * 1024;
const MOST_PASSES: u32 = 32;
const MOST_LANES: u32 = 16;
const NOT_AUTHENTIC: &str = "the passphrase is another, or the file was changed or cut off";

#[cfg(test)]
mod tests {
    use super::*;

    /// KiB, so that tests need not take their time.
    const LITTLE: u32 = 64;

    fn sealed(text: &[u8]) -> Vec<u8> {
        let mut writer =
            SealingWriter::with_memory(Vec::new(), &Passphrase::of("correct horse"), LITTLE).unwrap();
        // In pieces that fit no chunk.
        for piece in text.chunks(40_000) {
            writer.write_all(piece).unwrap();
        }
        writer.finish().unwrap()
    }

    fn opened(sealed: &[u8], passphrase: &str) -> anyhow::Result<Vec<u8>> {
        let mut text = Vec::new();
        OpeningReader::new(sealed, &Passphrase::of(passphrase))?.read_to_end(&mut text)?;
        Ok(text)
    }

    #[test]
    fn what_was_sealed_comes_back_whatever_its_length() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 7] {
            let text: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let file = sealed(&text);
            assert!(is_sealed(&file));
            assert_eq!(opened(&file, "correct horse").unwrap(), text, "{length}");
        }
    }

    #[test]
    fn no_text_is_in_the_file() {
        let file = sealed(&b"alice lives here ".repeat(5_000));
        assert!(!file.windows(5).any(|window| window == b"alice"));
    }

    #[test]
    fn another_passphrase_and_a_changed_or_cut_file_are_refused() {
        let file = sealed(&vec![7; 2 * CHUNK + 5]);
        assert!(format!("{:#}", opened(&file, "wrong").unwrap_err()).contains("passphrase"));
        // Magic and format have errors of their own; a parameter makes another key, or is refused.
        for at in [MAGIC.len() + 12, HEADER - 17, HEADER - 1, HEADER, HEADER + CHUNK + TAG, file.len() - 1] {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(opened(&changed, "correct horse").is_err(), "{at}");
        }
        for length in [HEADER - 1, HEADER, HEADER + CHUNK + TAG, HEADER + 2 * (CHUNK + TAG), file.len() - 1] {
            assert!(opened(&file[..length], "correct horse").is_err(), "{length}");
        }
        let mut swapped = file.clone();
        let (one, other) = swapped[HEADER..].split_at_mut(CHUNK + TAG);
        one.swap_with_slice(&mut other[..CHUNK + TAG]);
        assert!(opened(&swapped, "correct horse").is_err());
    }

    #[test]
    fn a_header_cannot_ask_for_all_memory() {
        let mut file = sealed(b"x");
        file[MAGIC.len() + 1] = 0xff;
        assert!(format!("{:#}", opened(&file, "correct horse").unwrap_err()).contains("KiB of memory"));
        file[MAGIC.len()] = 9;
        assert!(format!("{:#}", opened(&file, "correct horse").unwrap_err()).contains("newer build"));
    }
}
