//! Chunks that libhdf5 finds, read and unpacked here.
//!
//! Arrays of plain numbers in h5py's usual packing (shuffled, deflated, with a
//! checksum, each or not) need the library only to say where their chunks lie. Three
//! things are gained: libdeflate inflates in half the time; a chunk unpacks to the
//! bytes its shape has or is refused, where the library's buffer grows to whatever the
//! stream unpacks to; and rows come band by band, on all of rayon's threads or in
//! the memory of one band. Whatever else is left to the library.

use std::{fs::File, io};

use hdf5::{
    filters::Filter,
    plist::dataset_create::{ChunkOpts, Layout},
    types::TypeDescriptor,
};
use libdeflater::Decompressor;
use rayon::prelude::*;

use crate::elements::{Element, Real, numbers};

/// Rows of a band of an array that is not chunked.
const BAND: usize = 4096;
/// Chunks of fewer numbers, on average, would make their index as large as the array.
const NUMBERS_PER_CHUNK: usize = 16;

/// Where the numbers of an array lie, and how they are packed.
pub(crate) struct Packed {
    rows: usize,
    width: usize,
    /// Rows and columns of a chunk.
    tall: usize,
    wide: usize,
    /// Whether the last band is stored as long as the others.
    chunked: bool,
    element: Element,
    filters: Filters,
    /// Band by band, from left to right.
    pieces: Vec<Piece>,
}

/// One chunk's bytes in the file.
#[derive(Clone, Copy)]
struct Piece {
    address: u64,
    size: u64,
    /// Bits of the filters that were not applied.
    skipped: u32,
}

/// The filters of h5py's pipelines, in its order, each with its place in it.
#[derive(Clone, Copy, Default)]
struct Filters {
    shuffle: Option<usize>,
    deflate: Option<usize>,
    fletcher32: Option<usize>,
}

/// Who undoes a pipeline.
enum Pipeline {
    Ours(Filters),
    Library,
    /// With deflate among filters that we do not know, so that what comes out of it
    /// would have no bound, or with a filter that the library itself has to load.
    Nobody(String),
}

impl Pipeline {
    fn of(filters: &[Filter]) -> Self {
        let mut ours = Filters::default();
        for (place, filter) in filters.iter().enumerate() {
            let later = ours.deflate.is_some() || ours.fletcher32.is_some();
            let slot = match filter {
                Filter::Shuffle if !later => &mut ours.shuffle,
                Filter::Deflate(_) if ours.fletcher32.is_none() => &mut ours.deflate,
                Filter::Fletcher32 => &mut ours.fletcher32,
                _ => return Self::foreign(filters),
            };
            if slot.replace(place).is_some() {
                return Self::foreign(filters);
            }
        }
        Self::Ours(ours)
    }

    fn foreign(filters: &[Filter]) -> Self {
        let known = |f: &Filter| matches!(f, Filter::Shuffle | Filter::Fletcher32 | Filter::NBit);
        let known = |f: &Filter| known(f) || matches!(f, Filter::ScaleOffset(_));
        if filters.iter().all(known) {
            Self::Library
        } else {
            Self::Nobody(filters.iter().map(name).collect::<Vec<_>>().join(" and "))
        }
    }
}

/// What a filter is called; the numbers are those of the HDF Group's register.
fn name(filter: &Filter) -> String {
    let registered = match filter {
        Filter::Deflate(_) => "gzip",
        Filter::Shuffle => "shuffle",
        Filter::Fletcher32 => "fletcher32",
        Filter::NBit => "nbit",
        Filter::ScaleOffset(_) => "scaleoffset",
        Filter::SZip(..) => "szip",
        Filter::User(id, _) => match id {
            307 => "bzip2",
            32000 => "lzf",
            32001 => "blosc",
            32004 => "lz4",
            32008 => "bitshuffle",
            32013 => "zfp",
            32015 => "zstd",
            32017 => "sz",
            32024 => "sz3",
            32026 => "blosc2",
            _ => return format!("the HDF5 filter {id}"),
        },
    };
    registered.to_owned()
}

/// Who reads an array.
pub(crate) enum Plan {
    /// This module.
    Ours(Packed),
    /// The library, so many rows at a time.
    Library(usize),
    /// Nobody: its packing has no bound, and this is it.
    Nobody(String),
}

/// Buffers that are used again for every chunk.
pub(crate) struct Scratch<T> {
    stored: Vec<u8>,
    plain: Vec<u8>,
    numbers: Vec<T>,
    inflate: Decompressor,
}

impl<T> Scratch<T> {
    pub(crate) fn new() -> Self {
        Self {
            stored: Vec::new(),
            plain: Vec::new(),
            numbers: Vec::new(),
            inflate: Decompressor::new(),
        }
    }
}

/// Decides who reads `set`, of type `kind`, shape `[rows, width]` (neither is 0; the
/// width of a vector is 1) in a `file` of `length` bytes. Where that is the library
/// and the array is deflated, its chunks have been inflated once, to see that none is
/// longer than it may be.
///
/// # Errors
/// Why the array cannot be read, as part of a line.
pub(crate) fn plan(
    set: &hdf5::Dataset,
    kind: &TypeDescriptor,
    [rows, width]: [usize; 2],
    file: &File,
    length: u64,
) -> Result<Plan, String> {
    let told = |e: hdf5::Error| e.to_string();
    let properties = set.create_plist().map_err(told)?;
    let element = Element::of(kind, &set.dtype().map_err(told)?);
    let size = kind.size();
    if properties.get_layout().map_err(told)? != Layout::Chunked {
        let ours = element.zip(set.offset());
        let ours = ours.map(|(element, at)| Packed::plain(element, [rows, width], at, length));
        return ours.map_or(Ok(Plan::Library(BAND)), |packed| packed.map(Plan::Ours));
    }
    let chunk = properties.get_chunk().map_err(told)?.unwrap_or_default();
    let (tall, wide) = match chunk[..] {
        [tall] if tall > 0 => (tall, 1),
        [tall, wide] if tall > 0 && wide > 0 => (tall, wide),
        _ => return Err(format!("its chunks have shape {chunk:?}")),
    };
    let library = Plan::Library(tall.saturating_mul((BAND / tall).max(1)));
    let filters = match Pipeline::of(&properties.get_filters().map_err(told)?) {
        Pipeline::Ours(filters) => filters,
        Pipeline::Library => return Ok(library),
        Pipeline::Nobody(filters) => return Ok(Plan::Nobody(filters)),
    };
    let chunk_bytes = tall
        .checked_mul(wide)
        .and_then(|n| n.checked_mul(size))
        .ok_or("its chunks are too large")?;
    let edges_bare = properties
        .get_chunk_opts()
        .map_err(told)?
        .is_some_and(|o| o.contains(ChunkOpts::DONT_FILTER_PARTIAL_CHUNKS));
    let across = width.div_ceil(wide);
    let bands = rows.div_ceil(tall);
    let count = bands.saturating_mul(across);
    let few = count <= 1024 || count <= rows * width / NUMBERS_PER_CHUNK;
    let indexed = element.filter(|_| few);
    let mut pieces = vec![None; indexed.map_or(0, |_| count)];
    let mut scratch = Scratch::<f32>::new();
    let mut all = 0u64;
    chunks(set, |offset, mut piece| {
        let place = |at: u64, step: usize, count: usize| {
            let step = step as u64;
            let index = usize::try_from(at / step).ok();
            index.filter(|&i| at.is_multiple_of(step) && i < count)
        };
        let down = offset.first().and_then(|&at| place(at, tall, bands));
        let right = place(offset.get(1).copied().unwrap_or(0), wide, across);
        let (Some(down), Some(right)) = (down, right) else {
            return Err(format!("a chunk lies at {offset:?}"));
        };
        let partial = (down + 1) * tall > rows || (right + 1) * wide > width;
        if edges_bare && partial {
            piece.skipped = u32::MAX;
        }
        all = all.saturating_add(piece.size);
        let end = piece.address.checked_add(piece.size);
        if all > length || end.is_none_or(|end| end > length) {
            return Err("its chunks are more than the file holds".into());
        }
        if indexed.is_none() {
            return filters
                .undo(piece, file, chunk_bytes, &mut scratch)
                .map(drop);
        }
        match pieces[down * across + right].replace(piece) {
            None => Ok(()),
            Some(_) => Err(format!("two chunks lie at {offset:?}")),
        }
    })?;
    // Where one is missing the library knows what stands for it.
    let whole: Option<Vec<Piece>> = pieces.iter().copied().collect();
    if let (Some(element), Some(pieces)) = (indexed, whole) {
        return Ok(Plan::Ours(Packed {
            rows,
            width,
            tall,
            wide,
            chunked: true,
            element,
            filters,
            pieces,
        }));
    }
    for piece in pieces.into_iter().flatten() {
        filters.undo(piece, file, chunk_bytes, &mut scratch)?;
    }
    Ok(library)
}

/// Calls `each` with the place of every chunk, until it fails.
fn chunks(
    set: &hdf5::Dataset,
    mut each: impl FnMut(&[u64], Piece) -> Result<(), String>,
) -> Result<(), String> {
    let mut done = Ok(());
    let visited = set.chunks_visit(|info| {
        let piece = Piece {
            address: info.addr,
            size: info.size,
            skipped: info.filter_mask,
        };
        done = each(info.offset, piece);
        i32::from(done.is_err())
    });
    done.and(visited.map_err(|e| e.to_string()))
}

impl Packed {
    /// An array that lies at `address` as it is.
    fn plain(
        element: Element,
        [rows, width]: [usize; 2],
        address: u64,
        length: u64,
    ) -> Result<Self, String> {
        let row = (width * element.size()) as u64;
        let end = row
            .checked_mul(rows as u64)
            .and_then(|n| n.checked_add(address));
        if end.is_none_or(|end| end > length) {
            return Err("it is longer than the file".into());
        }
        let piece = |from: usize| Piece {
            address: address + row * from as u64,
            size: row * BAND.min(rows - from) as u64,
            skipped: 0,
        };
        Ok(Self {
            rows,
            width,
            tall: BAND,
            wide: width,
            chunked: false,
            element,
            filters: Filters::default(),
            pieces: (0..rows).step_by(BAND).map(piece).collect(),
        })
    }

    /// Rows of each band but the last.
    pub(crate) fn band_rows(&self) -> usize {
        self.tall
    }

    /// All rows, into `values`, which has their length.
    ///
    /// # Errors
    /// What is wrong with the first bad chunk.
    pub(crate) fn read<T: Real>(&self, file: &File, values: &mut [T]) -> Result<(), String> {
        let wrong = values
            .par_chunks_mut(self.tall.saturating_mul(self.width))
            .enumerate()
            .map_init(Scratch::new, |scratch, (band, out)| {
                self.band(file, band, out, scratch)
            })
            .find_map_first(Result::err);
        wrong.map_or(Ok(()), Err)
    }

    /// The rows of one band, into `out`, which has their length.
    ///
    /// # Errors
    /// What is wrong with a chunk.
    pub(crate) fn band<T: Real>(
        &self,
        file: &File,
        band: usize,
        out: &mut [T],
        scratch: &mut Scratch<T>,
    ) -> Result<(), String> {
        let rows = self.tall.min(self.rows - band * self.tall);
        let across = self.width.div_ceil(self.wide);
        for (column, &piece) in self.pieces[band * across..][..across].iter().enumerate() {
            let left = column * self.wide;
            let columns = self.wide.min(self.width - left);
            let count = self.wide * if self.chunked { self.tall } else { rows };
            let bytes = count * self.element.size();
            let shuffled = self.filters.undo(piece, file, bytes, scratch)?;
            let plain = &scratch.plain[..];
            if self.wide == self.width {
                numbers(self.element, plain, shuffled, out);
                continue;
            }
            scratch.numbers.resize(count, T::default());
            numbers(self.element, plain, shuffled, &mut scratch.numbers);
            let from = scratch.numbers.chunks_exact(self.wide);
            for (to, from) in out.chunks_exact_mut(self.width).zip(from) {
                // Too few, mostly, for a call that copies them.
                for (to, &from) in to[left..left + columns].iter_mut().zip(from) {
                    *to = from;
                }
            }
        }
        Ok(())
    }
}

impl Filters {
    /// Reads a chunk and undoes its filters but the shuffling, into `scratch.plain`,
    /// which then has `bytes` bytes. Returns whether they are shuffled.
    fn undo<T>(
        self,
        piece: Piece,
        file: &File,
        bytes: usize,
        scratch: &mut Scratch<T>,
    ) -> Result<bool, String> {
        let on = |filter: Option<usize>| {
            filter.is_some_and(|place| place >= 32 || piece.skipped >> place & 1 == 0)
        };
        let size = usize::try_from(piece.size).map_err(|e| e.to_string())?;
        let Scratch {
            stored,
            plain,
            inflate,
            ..
        } = scratch;
        stored.resize(size, 0);
        read_at(file, stored, piece.address).map_err(|e| e.to_string())?;
        if on(self.fletcher32) {
            let Some((data, sum)) = stored.split_last_chunk::<4>() else {
                return Err("a chunk has no checksum".into());
            };
            let (sum, found) = (u32::from_le_bytes(*sum), fletcher32(data));
            // Old libraries on little-endian machines swapped the bytes of each half.
            let swapped = (found & 0x00ff_00ff) << 8 | (found & 0xff00_ff00) >> 8;
            if sum != found && sum != swapped {
                return Err("a chunk's checksum differs".into());
            }
            stored.truncate(size - 4);
        }
        let unpacked = if on(self.deflate) {
            plain.resize(bytes, 0);
            inflate
                .zlib_decompress(stored, plain)
                .map_err(|e| format!("a chunk does not inflate to {bytes} bytes: {e}"))?
        } else {
            std::mem::swap(stored, plain);
            plain.len()
        };
        if unpacked != bytes {
            return Err(format!("a chunk has {unpacked} bytes instead of {bytes}"));
        }
        Ok(on(self.shuffle))
    }
}

/// The checksum of HDF5's filter: Fletcher's sums over big-endian 16-bit words.
fn fletcher32(data: &[u8]) -> u32 {
    let (mut low, mut high) = (0, 0);
    // Short enough that no sum of 64 bits overflows.
    for part in data.chunks(1 << 16) {
        for pair in part.chunks(2) {
            let second = pair.get(1).copied().unwrap_or(0);
            low += u64::from(pair[0]) << 8 | u64::from(second);
            high += low;
        }
        (low, high) = (fold(low), fold(high));
    }
    (high << 16 | low) as u32
}

/// `sum` modulo 65535, where only nothing at all gives 0.
fn fold(sum: u64) -> u64 {
    sum.checked_sub(1).map_or(0, |less| less % 65535 + 1)
}

/// Fills `bytes` from `offset` on, wherever other threads read.
#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let n = std::os::windows::fs::FileExt::seek_read(file, bytes, offset)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes = &mut bytes[n..];
        offset += n as u64;
    }
    Ok(())
}
