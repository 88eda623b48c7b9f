//! TensorBoard's event files: records of a length, a message and their checksums.
//!
//! Each record is the message's length (u64), the length's checksum (u32), the message and
//! its checksum (u32), all little-endian; checksums are CRC-32C, masked so that one over
//! data that hold checksums stays good (TensorFlow, `lib/io/record_writer.cc`).

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use spar_core::protobuf::Message;

/// An event file that is being written.
#[derive(Debug)]
pub(super) struct EventFile(File);

impl EventFile {
    /// Makes the file, which must not be there, with its first record.
    pub(super) fn create(path: &Path, at: f64) -> io::Result<Self> {
        let mut file = Self(File::create_new(path)?);
        file.push(Message::new().double(1, at).text(3, "brain.Event:2"))?;
        Ok(file)
    }

    /// Adds an event as one write, so that a reader sees all of it or nothing.
    pub(super) fn push(&mut self, event: Message) -> io::Result<()> {
        self.0.write_all(&record(&event.into_bytes()))
    }
}

fn record(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(message.len() + 16);
    record.extend_from_slice(&length);
    record.extend_from_slice(&masked(crc32c(&length)).to_le_bytes());
    record.extend_from_slice(message);
    record.extend_from_slice(&masked(crc32c(message)).to_le_bytes());
    record
}

fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The remainder of every byte: Castagnoli's polynomial, reflected.
const TABLE: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0x82f6_3b78
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

fn crc32c(bytes: &[u8]) -> u32 {
    let next = |crc: u32, byte: &u8| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)];
    !bytes.iter().fold(!0, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, B.4, and the check value of the polynomial's catalogue entry.
    #[test]
    fn checksums_are_those_of_the_standard() {
        let ascending: Vec<u8> = (0..32).collect();
        for (bytes, expected) in [
            (&[0u8; 32][..], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&ascending, 0x46dd_794e),
            (b"123456789", 0xe306_9283),
        ] {
            assert_eq!(crc32c(bytes), expected);
        }
    }
}
