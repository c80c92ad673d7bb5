use std::cell::Cell;

use bytes::Bytes;

use crate::CodecError;

/// What `write` writes, in one allocation of just its size.
///
/// It is written into a buffer that the thread keeps, because its size is not known before.
pub(super) fn written(
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), CodecError>,
) -> Result<Bytes, CodecError> {
    // Taken out, so that a value that encodes another while it is encoded finds an empty one.
    let mut buffer = BUFFER.take();
    buffer.clear();
    let written = write(&mut buffer).map(|()| Bytes::copy_from_slice(&buffer));
    if buffer.capacity() <= KEPT {
        BUFFER.set(buffer);
    }
    written
}

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// How much a thread keeps: more than most events need.
const KEPT: usize = 64 * 1024;
