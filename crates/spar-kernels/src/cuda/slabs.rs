//! The memory of runs that share launches: equal slabs of one allocation, and pinned memory
//! of the host from which all runs' new batches go over in one copy, while the device is at
//! the launches before.

use std::{
    fmt, ptr,
    sync::{Arc, Mutex, PoisonError},
};

use cudarc::driver::{CudaEvent, CudaSlice, CudaStream, DevicePtr, result, sys};

use super::{
    CudaError,
    driver::{CudaDevice, driver},
    graph::{Graph, Noted, Slabs as Layout},
    meeting::Meeting,
};

/// Floats to which every buffer is aligned: 256 bytes, as the driver's own.
pub(super) const ALIGN: usize = 64;

/// Floats a run may write between two starts without waiting for the device; more goes over
/// by itself. SPAR's batch with its noise has about 30 000 at the suite's sizes.
const STAGED: usize = 1 << 18;

/// Parts of the pinned memory, used in turn: one is filled while another goes over and a third
/// is taken into the slabs.
const SLOTS: usize = 3;

/// Largest distance between two rows of a copy, on every GPU.
const MAX_PITCH: usize = 0x7fff_ffff;

/// A write that waits in pinned memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Write {
    /// Its place in the run's part of the slot, in floats.
    from: usize,
    /// Its place in the run's slab.
    at: usize,
    len: usize,
}

/// What a run arrives with.
#[derive(Debug)]
pub(super) struct Arrival {
    /// Which of the recordings.
    pub(super) kind: usize,
    /// What it wrote since its last.
    pub(super) staged: Staged,
}

/// What a run has written and not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Staged {
    /// Starts of this run before.
    starts: usize,
    /// Floats of its part of the slot that are in use.
    used: usize,
    writes: Vec<Write>,
}

impl Staged {
    /// Nothing yet, for the start after this one's.
    pub(super) fn next(&self) -> Self {
        Self {
            starts: self.starts + 1,
            used: 0,
            writes: Vec::with_capacity(self.writes.len()),
        }
    }

    /// All of it is on its way; its place in the slot is in use still.
    pub(super) fn sent(&mut self) {
        self.writes.clear();
    }
}

/// Recordings, and their graphs for all runs.
#[derive(Debug, Default)]
struct Kinds {
    known: Vec<Vec<Noted>>,
    /// For each, the graph and the lanes it is for.
    graphs: Vec<Option<(Vec<usize>, Graph)>>,
}

/// What runs that share launches share.
pub(super) struct Slabs {
    pub(super) device: CudaDevice,
    pub(super) meeting: Meeting<Arrival>,
    memory: CudaSlice<f32>,
    /// Floats of a run's slab.
    stride: usize,
    runs: usize,
    /// Pinned: `[SLOTS, runs, STAGED]`.
    stage: *mut f32,
    /// The same on the device.
    landed: CudaSlice<f32>,
    /// Copies from the one to the other, beside launches.
    copies: Arc<CudaStream>,
    /// That what was staged in a slot is on the device.
    copied: [CudaEvent; SLOTS],
    /// That the slabs have it.
    taken: [CudaEvent; SLOTS],
    kinds: Mutex<Kinds>,
}

// SAFETY: a run's part of the pinned memory is written by that run alone, in a slot that
// nobody copies from by then; the rest is `Sync` by itself.
unsafe impl Send for Slabs {}
// SAFETY: as above.
unsafe impl Sync for Slabs {}

impl Drop for Slabs {
    fn drop(&mut self) {
        // What is copied from pinned memory must be there until it is.
        let _: Result<_, _> = self.copies.synchronize();
        let _: Result<_, _> = self.device.synchronize();
        // SAFETY: it came from `malloc_host`, and nothing uses it any more.
        let _: Result<_, _> = unsafe { result::free_host(self.stage.cast()) };
    }
}

impl fmt::Debug for Slabs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slabs")
            .field("runs", &self.runs)
            .field("stride", &self.stride)
            .finish_non_exhaustive()
    }
}

impl Slabs {
    /// Slabs of `floats` floats for each of `runs` runs, all zero.
    ///
    /// # Errors
    /// If the device or the host has no memory.
    pub(super) fn new(device: CudaDevice, runs: usize, floats: usize) -> Result<Self, CudaError> {
        // The first place is nobody's: an offset of zero would be a null pointer.
        let stride = ALIGN + floats.next_multiple_of(ALIGN);
        let no_memory = |error| {
            let bytes = stride * size_of::<f32>();
            CudaError::Driver(format!("{runs} runs of {bytes} bytes each: {error}"))
        };
        device.bind()?;
        let stream = device.stream();
        let zeros = |floats: usize| stream.alloc_zeros(floats.max(1)).map_err(no_memory);
        let memory = zeros(runs * stride)?;
        let landed = zeros(SLOTS * runs * STAGED)?;
        let copies = stream.context().new_stream().map_err(driver)?;
        let event = || stream.context().new_event(None).map_err(driver);
        let copied = [event()?, event()?, event()?];
        let taken = [event()?, event()?, event()?];
        // The other stream may not come before the zeros.
        stream.synchronize().map_err(driver)?;
        let bytes = SLOTS * runs.max(1) * STAGED * size_of::<f32>();
        // SAFETY: as long as it is zeroed; what lies between two writes goes over with them.
        let stage = unsafe {
            let stage = result::malloc_host(bytes, 0).map_err(driver)?;
            ptr::write_bytes(stage.cast::<u8>(), 0, bytes);
            stage
        };
        Ok(Self {
            meeting: Meeting::new(runs),
            memory,
            stride,
            runs,
            stage: stage.cast(),
            landed,
            copies,
            copied,
            taken,
            kinds: Mutex::default(),
            device,
        })
    }

    /// Floats of a slab.
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// Address of the slab of `lane`.
    pub(super) fn address(&self, lane: usize) -> u64 {
        let (start, _) = self.memory.device_ptr(self.device.stream());
        start + (lane * self.stride * size_of::<f32>()) as u64
    }

    /// Which part of pinned memory is that of `lane` for the start after `starts`.
    fn part(&self, lane: usize, starts: usize) -> usize {
        (starts % SLOTS * self.runs + lane) * STAGED
    }

    /// Where it lies.
    fn staged_at(&self, lane: usize, starts: usize) -> *mut f32 {
        // SAFETY: within the pinned memory, for a lane of these runs.
        unsafe { self.stage.add(self.part(lane, starts)) }
    }

    /// Puts `values` for place `at` of the slab of `lane` into pinned memory; false if there
    /// is no place left.
    pub(super) fn stage(
        &self,
        lane: usize,
        staged: &mut Staged,
        at: usize,
        values: &[f32],
    ) -> bool {
        let (from, len) = (staged.used, values.len());
        if len > STAGED - from {
            return false;
        }
        // SAFETY: the part is this lane's, and long enough. The slot was last read for the
        // start SLOTS before this one, and the start two before this one, which a lane waits
        // for before it goes on, ended only when the slabs had what was read.
        unsafe {
            let to = self.staged_at(lane, staged.starts).add(from);
            ptr::copy_nonoverlapping(values.as_ptr(), to, len);
        }
        staged.used = (from + len).next_multiple_of(ALIGN).min(STAGED);
        // What lies side by side in both places goes over as one.
        let beside = |last: &&mut Write| {
            let gap = last.len.next_multiple_of(ALIGN);
            last.from + gap == from && last.at + gap == at
        };
        match staged.writes.last_mut().filter(beside) {
            Some(last) => last.len = last.len.next_multiple_of(ALIGN) + len,
            None => staged.writes.push(Write { from, at, len }),
        }
        true
    }

    /// Copies what `lane` has staged, by itself.
    ///
    /// # Errors
    /// If a copy fails.
    pub(super) fn send(&self, lane: usize, staged: &Staged) -> Result<(), CudaError> {
        for write in &staged.writes {
            // SAFETY: within the lane's part, pinned memory that stays as it is until it is
            // copied.
            let values = unsafe {
                let from = self.staged_at(lane, staged.starts).add(write.from);
                std::slice::from_raw_parts(from, write.len)
            };
            let to = self.address(lane) + bytes(write.at);
            // SAFETY: within the slab, which is the device's own.
            let copied = unsafe { result::memcpy_htod_async(to, values, self.device.raw_stream()) };
            copied.map_err(driver)?;
        }
        Ok(())
    }

    /// Sends what the lanes, in rows of neighbours, have all staged as `staged`: beside what
    /// the device is at, then into their slabs.
    fn send_all(&self, lanes: &[(usize, usize)], staged: &Staged) -> Result<(), CudaError> {
        if staged.writes.is_empty() {
            return Ok(());
        }
        let (landed, _) = self.landed.device_ptr(self.device.stream());
        let stage_pitch = STAGED * size_of::<f32>();
        let slot = staged.starts % SLOTS;
        for &(lane, runs) in lanes {
            let rows = Rows {
                width: staged.used * size_of::<f32>(),
                height: runs,
                from: Origin::Host(self.staged_at(lane, staged.starts)),
                from_pitch: stage_pitch,
                to: landed + bytes(self.part(lane, staged.starts)),
                to_pitch: stage_pitch,
            };
            // SAFETY: rows of pinned memory and of as much on the device, which was taken from
            // there by the end of the last start.
            unsafe { rows.copy(self.copies.cu_stream())? };
        }
        self.copied[slot].record(&self.copies).map_err(driver)?;
        let stream = self.device.stream();
        stream.wait(&self.copied[slot]).map_err(driver)?;
        for &(lane, runs) in lanes {
            let from = landed + bytes(self.part(lane, staged.starts));
            for write in &staged.writes {
                let rows = Rows {
                    width: write.len * size_of::<f32>(),
                    height: runs,
                    from: Origin::Device(from + bytes(write.from)),
                    from_pitch: stage_pitch,
                    to: self.address(lane) + bytes(write.at),
                    to_pitch: self.stride * size_of::<f32>(),
                };
                // SAFETY: rows of what has landed and of the slabs of these runs.
                unsafe { rows.copy(stream.cu_stream())? };
            }
        }
        Ok(())
    }

    /// The number of a recording: the same for the same launches.
    pub(super) fn kind(&self, launches: Vec<Noted>) -> usize {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kinds.known.iter().position(|known| *known == launches);
        known.unwrap_or_else(|| {
            kinds.known.push(launches);
            kinds.graphs.push(None);
            kinds.known.len() - 1
        })
    }

    /// Starts what all have arrived with: their writes, then the launches of all as one graph.
    ///
    /// # Errors
    /// If they are not the same launches, or the driver fails.
    pub(super) fn start(&self, arrivals: &[(usize, Arrival)]) -> Result<(), CudaError> {
        let Some((first_lane, first)) = arrivals.first() else {
            return Ok(());
        };
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((lane, other)) = arrivals.iter().find(|(_, a)| a.kind != first.kind) {
            let [one, other] = [first.kind, other.kind].map(|kind| &kinds.known[kind]);
            let what = difference(one, other);
            return Err(CudaError::Lanes(format!(
                "run {lane} repeats other launches than run {first_lane}: {what}; runs that \
                 share launches have the same settings, widths and updates done"
            )));
        }
        self.device.bind()?;
        let lanes: Vec<usize> = arrivals.iter().map(|(lane, _)| *lane).collect();
        let starts = first.staged.starts;
        let alike = arrivals.iter().all(|(_, a)| a.staged == first.staged);
        if alike && self.stride * size_of::<f32>() <= MAX_PITCH {
            self.send_all(&neighbours(&lanes), &first.staged)?;
        } else {
            for (lane, arrival) in arrivals {
                self.send(*lane, &arrival.staged)?;
            }
        }
        let [now, before] = [starts, starts + SLOTS - 1].map(|slot| &self.taken[slot % SLOTS]);
        now.record(self.device.stream()).map_err(driver)?;
        self.graph(&mut kinds, first.kind, &lanes)?
            .start(&self.device)?;
        drop(kinds);
        // The device is at the last start's launches by then, with these behind them.
        before.synchronize().map_err(driver)
    }

    /// The graph of a recording for these lanes, made if it is not there.
    fn graph<'a>(
        &self,
        kinds: &'a mut Kinds,
        kind: usize,
        lanes: &[usize],
    ) -> Result<&'a Graph, CudaError> {
        let Kinds { known, graphs } = kinds;
        let made = &mut graphs[kind];
        if made.as_ref().is_none_or(|(of, _)| of != lanes) {
            let slabs: Vec<_> = neighbours(lanes)
                .into_iter()
                .map(|(lane, runs)| Layout {
                    base: self.address(lane),
                    runs,
                    stride: self.stride,
                })
                .collect();
            // SAFETY: every lane vouched for the same launches on its slab, and the slabs live
            // as long as the graphs.
            let graph = unsafe { Graph::new(&self.device, &known[kind], &slabs)? };
            *made = Some((lanes.to_vec(), graph));
        }
        match made {
            Some((_, graph)) => Ok(graph),
            None => Err(CudaError::Driver("nothing was recorded".to_owned())),
        }
    }
}

/// Bytes of that many floats.
fn bytes(floats: usize) -> u64 {
    (floats * size_of::<f32>()) as u64
}

/// Where rows are copied from.
enum Origin {
    Host(*const f32),
    Device(u64),
}

/// Rows that are copied, in bytes.
struct Rows {
    width: usize,
    height: usize,
    from: Origin,
    from_pitch: usize,
    to: u64,
    to_pitch: usize,
}

impl Rows {
    /// Copies them to the device in the order of `stream`.
    ///
    /// # Safety
    /// Both sides have that many rows, and keep them until the copy is done.
    unsafe fn copy(&self, stream: sys::CUstream) -> Result<(), CudaError> {
        use sys::CUmemorytype::{CU_MEMORYTYPE_DEVICE, CU_MEMORYTYPE_HOST};
        let (kind, host, device) = match self.from {
            Origin::Host(from) => (CU_MEMORYTYPE_HOST, from, 0),
            Origin::Device(from) => (CU_MEMORYTYPE_DEVICE, ptr::null(), from),
        };
        let copy = sys::CUDA_MEMCPY2D {
            srcXInBytes: 0,
            srcY: 0,
            srcMemoryType: kind,
            srcHost: host.cast(),
            srcDevice: device,
            srcArray: ptr::null_mut(),
            srcPitch: self.from_pitch,
            dstXInBytes: 0,
            dstY: 0,
            dstMemoryType: CU_MEMORYTYPE_DEVICE,
            dstHost: ptr::null_mut(),
            dstDevice: self.to,
            dstArray: ptr::null_mut(),
            dstPitch: self.to_pitch,
            WidthInBytes: self.width,
            Height: self.height,
        };
        // SAFETY: as the caller vouches; the driver has read `copy` when it returns.
        let copied = unsafe { sys::cuMemcpy2DAsync_v2(&raw const copy, stream) };
        copied.result().map_err(driver)
    }
}

/// First and number of each row of lanes without one missing.
fn neighbours(lanes: &[usize]) -> Vec<(usize, usize)> {
    let mut rows: Vec<(usize, usize)> = Vec::new();
    for &lane in lanes {
        match rows.last_mut() {
            Some((first, runs)) if *first + *runs == lane => *runs += 1,
            _ => rows.push((lane, 1)),
        }
    }
    rows
}

/// The first difference between two recordings, in words.
fn difference(one: &[Noted], other: &[Noted]) -> String {
    let Some(at) = (0..one.len().min(other.len())).find(|&at| one[at] != other[at]) else {
        return format!("{} launches, expected {}", other.len(), one.len());
    };
    let (one, other) = (&one[at], &other[at]);
    let what = if one.launch == other.launch {
        "with other sizes or buffers".to_owned()
    } else {
        format!("on {:?}, expected {:?}", other.launch, one.launch)
    };
    format!("launch {at}, {}, {what}", other.launch.kernel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_lanes_end_where_one_is_missing() {
        assert_eq!(neighbours(&[0, 1, 2]), [(0, 3)]);
        assert_eq!(neighbours(&[1, 2, 4, 7, 8]), [(1, 2), (4, 1), (7, 2)]);
        assert_eq!(neighbours(&[]), []);
    }
}
