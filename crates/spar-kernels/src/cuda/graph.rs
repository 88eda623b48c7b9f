//! Recorded launches as a graph of the driver's: a launch waits for those it depends on and
//! for no other, so that independent ones run side by side, with the bits of one after the
//! other.

use std::{collections::HashMap, fmt, mem, ptr};

use cudarc::driver::{result, sys};

use super::{
    Arg, ArgValue, CudaError, Launch,
    device::Lanes,
    driver::{CudaDevice, driver},
};

/// Which buffers a launch reads and writes, by their addresses: buffers do not overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) reads: Vec<u64>,
    /// What is written may be read too.
    pub(super) writes: Vec<u64>,
}

/// A launch with its arguments, to be started later.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Noted {
    pub(super) launch: Launch,
    /// Without its lanes.
    pub(super) values: Vec<ArgValue>,
    pub(super) access: Access,
}

impl Noted {
    /// `launch` of `args`, buffers by their `address`, none of which is zero.
    pub(super) fn new<B>(launch: Launch, args: &[Arg<'_, B>], address: impl Fn(&B) -> u64) -> Self {
        let mut access = Access::default();
        for arg in args {
            match arg {
                Arg::Read(buffer) => access.reads.push(address(buffer)),
                Arg::Write(buffer) => access.writes.push(address(buffer)),
                _ => {}
            }
        }
        Self {
            launch,
            values: args.iter().map(|arg| arg.value(&address)).collect(),
            access,
        }
    }
}

/// For each launch, the earlier ones it must wait for: the last that wrote what it reads, and
/// the last that wrote and all that since read what it writes; less those that another of
/// them waits for already.
pub(super) fn waits_for<'a>(launches: impl IntoIterator<Item = &'a Access>) -> Vec<Vec<usize>> {
    #[derive(Default)]
    struct Last {
        writer: Option<usize>,
        readers: Vec<usize>,
    }
    let mut buffers: HashMap<u64, Last> = HashMap::new();
    // Everything a launch waits for, in however many steps.
    let mut behind: Vec<Vec<bool>> = Vec::new();
    let mut all = Vec::new();
    for (launch, access) in launches.into_iter().enumerate() {
        let mut needed = vec![false; launch];
        let mut need = |before: usize| {
            // Not itself, which may read and write one buffer.
            if let Some(needed) = needed.get_mut(before) {
                *needed = true;
            }
        };
        for &buffer in access.reads.iter().chain(&access.writes) {
            let last = buffers.entry(buffer).or_default();
            last.writer.into_iter().for_each(&mut need);
            last.readers.push(launch);
        }
        for &buffer in &access.writes {
            let last = buffers.entry(buffer).or_default();
            last.readers.drain(..).for_each(&mut need);
            last.writer = Some(launch);
        }
        let direct: Vec<usize> = (0..launch).filter(|&before| needed[before]).collect();
        let implied = |before: &usize| {
            let others = direct.iter().filter(|other| *other != before);
            others.into_iter().any(|&other| {
                let behind: &Vec<bool> = &behind[other];
                behind.get(*before) == Some(&true)
            })
        };
        let kept = direct.iter().filter(|before| !implied(before)).copied();
        all.push(kept.collect());
        for &before in &direct {
            for (needed, &behind) in needed.iter_mut().zip(&behind[before]) {
                *needed |= behind;
            }
        }
        behind.push(needed);
    }
    all
}

/// Runs whose buffers lie one slab after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slabs {
    /// What the addresses of the noted launches count from in the first run's slab.
    pub(super) base: u64,
    /// Runs.
    pub(super) runs: usize,
    /// Floats between a run's buffers and the next one's.
    pub(super) stride: usize,
}

impl Slabs {
    /// A run by itself, whose addresses are what they are.
    pub(super) const ALONE: Self = Self {
        base: 0,
        runs: 1,
        stride: 0,
    };
}

/// A graph that can be started.
pub(super) struct Graph {
    exec: sys::CUgraphExec,
}

// SAFETY: the driver takes a graph from any thread; it is only ever started through a
// reference to it, by one thread at a time, since it is not `Sync`.
unsafe impl Send for Graph {}

/// A graph under construction; ends with this.
struct Template(sys::CUgraph);

impl Drop for Template {
    fn drop(&mut self) {
        // SAFETY: made by `cuGraphCreate`, and destroyed once. What it was instantiated as
        // does not need it.
        let _: Result<_, _> = unsafe { result::graph::destroy(self.0) };
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: made by `cuGraphInstantiateWithFlags`, and destroyed once; the driver lets
        // what runs of it end first.
        let _: Result<_, _> = unsafe { result::graph::exec_destroy(self.exec) };
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph").finish_non_exhaustive()
    }
}

impl Graph {
    /// The graph of `launches`, once for each of `slabs`, all of whose runs one launch serves.
    ///
    /// # Errors
    /// If there are none, or the driver refuses one.
    ///
    /// # Safety
    /// The launches are sound as [`super::Device::launch`] demands, on the buffers of every
    /// run; and these live as long as the graph may be started or runs.
    pub(super) unsafe fn new(
        device: &CudaDevice,
        launches: &[Noted],
        slabs: &[Slabs],
    ) -> Result<Self, CudaError> {
        if launches.is_empty() || slabs.is_empty() {
            return Err(CudaError::Driver("nothing was recorded".to_owned()));
        }
        device.bind()?;
        let mut graph = ptr::null_mut();
        // SAFETY: writes the handle of a new graph.
        let made = unsafe { sys::cuGraphCreate(&raw mut graph, 0) };
        made.result().map_err(driver)?;
        let template = Template(graph);
        let waits_for = waits_for(launches.iter().map(|noted| &noted.access));
        for slabs in slabs {
            let mut nodes: Vec<sys::CUgraphNode> = Vec::with_capacity(launches.len());
            for (noted, before) in launches.iter().zip(&waits_for) {
                let before: Vec<_> = before.iter().map(|&before| nodes[before]).collect();
                // SAFETY: the nodes are this graph's; the caller vouches for the launch.
                nodes.push(unsafe { add(device, &template, noted, &before, slabs)? });
            }
        }
        let flags = sys::CUgraphInstantiate_flags(0);
        // SAFETY: the graph is whole, and no other thread knows it.
        let exec = unsafe { result::graph::instantiate(template.0, flags) };
        let exec = exec.map_err(driver)?;
        Ok(Self { exec })
    }

    /// Starts it on `device`'s stream, after what was started there before.
    ///
    /// # Errors
    /// If the driver does not start it.
    pub(super) fn start(&self, device: &CudaDevice) -> Result<(), CudaError> {
        device.bind()?;
        // SAFETY: the graph lives, is started by one thread at a time, and what its kernels
        // read and write lives as whoever made it vouches.
        let started = unsafe { result::graph::launch(self.exec, device.raw_stream()) };
        started.map_err(driver)
    }
}

/// Adds one launch to a graph, after the nodes `before`.
///
/// # Safety
/// As of [`Graph::new`]; the nodes are the graph's.
unsafe fn add(
    device: &CudaDevice,
    graph: &Template,
    noted: &Noted,
    before: &[sys::CUgraphNode],
    slabs: &Slabs,
) -> Result<sys::CUgraphNode, CudaError> {
    let Launch {
        kernel,
        grid: [x, y, depth],
        ..
    } = noted.launch;
    let failed = |reason: String| CudaError::Launch { kernel, reason };
    let (lanes, z) = Lanes::new(depth, slabs.runs, slabs.stride)?;
    let mut values: Vec<_> = noted
        .values
        .iter()
        .map(|value| match value {
            ArgValue::Address(address) if *address != 0 => ArgValue::Address(slabs.base + address),
            value => *value,
        })
        .chain([ArgValue::Lanes(lanes)])
        .collect();
    let mut pointers: Vec<_> = values.iter_mut().map(ArgValue::pointer).collect();
    let (function, threads, shared) = device.start_of(&noted.launch)?;
    let params = sys::CUDA_KERNEL_NODE_PARAMS {
        func: function,
        gridDimX: x,
        gridDimY: y,
        gridDimZ: z,
        blockDimX: threads,
        blockDimY: 1,
        blockDimZ: 1,
        sharedMemBytes: shared,
        kernelParams: pointers.as_mut_ptr(),
        extra: ptr::null_mut(),
        // The function says which.
        kern: ptr::null_mut(),
        // The one that is bound.
        ctx: ptr::null_mut(),
    };
    let mut node = ptr::null_mut();
    // SAFETY: graph and nodes live; the driver copies the parameters, to which all pointers
    // point, before it returns; the caller vouches for their meaning.
    let added = unsafe {
        sys::cuGraphAddKernelNode_v2(
            &raw mut node,
            graph.0,
            before.as_ptr(),
            before.len(),
            &raw const params,
        )
    };
    mem::drop(values);
    added.result().map_err(|error| failed(error.to_string()))?;
    Ok(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(launches: &[(&[u64], &[u64])]) -> Vec<Vec<usize>> {
        let launches: Vec<_> = launches
            .iter()
            .map(|(reads, writes)| Access {
                reads: reads.to_vec(),
                writes: writes.to_vec(),
            })
            .collect();
        waits_for(&launches)
    }

    #[test]
    fn a_read_waits_for_the_last_write() {
        let waits = of(&[(&[], &[1]), (&[], &[1]), (&[1], &[2])]);
        assert_eq!(waits, [vec![], vec![0], vec![1]]);
    }

    #[test]
    fn a_write_waits_for_every_read_before_it() {
        let waits = of(&[(&[], &[1]), (&[1], &[2]), (&[1], &[3]), (&[], &[1])]);
        assert_eq!(waits, [vec![], vec![0], vec![0], vec![1, 2]]);
    }

    #[test]
    fn a_write_waits_for_the_last_write() {
        assert_eq!(of(&[(&[], &[1]), (&[], &[1])]), [vec![], vec![0]]);
        // What was written may have been read as well.
        let waits = of(&[(&[], &[1]), (&[], &[1]), (&[], &[1])]);
        assert_eq!(waits, [vec![], vec![0], vec![1]]);
    }

    #[test]
    fn launches_that_share_only_what_they_read_do_not_wait() {
        let waits = of(&[(&[1, 2], &[3]), (&[1, 2], &[4]), (&[2], &[5])]);
        assert_eq!(waits, [vec![], vec![], vec![]]);
    }

    #[test]
    fn a_launch_does_not_wait_for_itself() {
        let waits = of(&[(&[1, 1], &[1, 2]), (&[2, 2], &[2])]);
        assert_eq!(waits, [vec![], vec![0]]);
    }

    #[test]
    fn what_another_waits_for_already_is_left_out() {
        // 0 -> 1 -> 2, and 3 needs all three; 4 needs 0 by its read, which 3 implies.
        let waits = of(&[
            (&[], &[1]),
            (&[1], &[2]),
            (&[2], &[3]),
            (&[1, 2, 3], &[4]),
            (&[1, 4], &[5]),
        ]);
        assert_eq!(waits, [vec![], vec![0], vec![1], vec![2], vec![3]]);
    }

    /// Any order that keeps the edges gives what the recorded order gives.
    #[test]
    fn every_order_that_keeps_the_edges_computes_the_same() {
        let mut state = 12345_u64;
        let mut random = move |n: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
            (state >> 33) % n
        };
        for _ in 0..200 {
            let launches: Vec<Access> = (0..12)
                .map(|_| Access {
                    reads: (0..random(3)).map(|_| random(6)).collect(),
                    writes: (0..1 + random(2)).map(|_| random(6)).collect(),
                })
                .collect();
            let waits = waits_for(&launches);
            // A launch mixes everything it may read into everything it writes.
            let run = |order: &[usize]| {
                let mut memory = [1_u64; 6];
                for &launch in order {
                    let Access { reads, writes } = &launches[launch];
                    let read = reads.iter().chain(writes);
                    let seen = read.fold(launch as u64, |sum, &at| {
                        sum.wrapping_mul(31).wrapping_add(memory[at as usize])
                    });
                    for &at in writes {
                        memory[at as usize] = seen;
                    }
                }
                memory
            };
            let recorded: Vec<usize> = (0..launches.len()).collect();
            for _ in 0..10 {
                let (mut order, mut left) = (Vec::new(), recorded.clone());
                while !left.is_empty() {
                    let ready = |launch: &usize| waits[*launch].iter().all(|b| order.contains(b));
                    let ready: Vec<usize> = left.iter().copied().filter(ready).collect();
                    let next = ready[random(ready.len() as u64) as usize];
                    left.retain(|&launch| launch != next);
                    order.push(next);
                }
                assert_eq!(run(&order), run(&recorded), "{launches:?}");
            }
        }
    }
}
