//! The arrays of a file while it grows.

use hdf5::H5Type;
use ndarray::{ArrayView1, ArrayView2};

use super::{BLOCK, DEFLATE, Row, Shape, group};

/// One growing array and its rows that are not yet in the file.
#[derive(Debug)]
pub(super) struct Column<T> {
    set: hdf5::Dataset,
    pub(super) width: usize,
    flat: bool,
    pending: Vec<T>,
    written: usize,
}

impl<T: H5Type + Copy> Column<T> {
    fn matrix(parent: &hdf5::Group, name: &str, width: usize) -> hdf5::Result<Self> {
        let set = parent
            .new_dataset::<T>()
            .shape((0.., width))
            .chunk((BLOCK, width))
            .shuffle()
            .deflate(DEFLATE)
            .obj_track_times(false)
            .create(name)?;
        Ok(Self::over(set, width, false))
    }

    fn flat(parent: &hdf5::Group, name: &str) -> hdf5::Result<Self> {
        let set = parent
            .new_dataset::<T>()
            .shape((0..,))
            .chunk((BLOCK,))
            .shuffle()
            .deflate(DEFLATE)
            .obj_track_times(false)
            .create(name)?;
        Ok(Self::over(set, 1, true))
    }

    fn over(set: hdf5::Dataset, width: usize, flat: bool) -> Self {
        Self {
            set,
            width,
            flat,
            pending: Vec::with_capacity(BLOCK * width),
            written: 0,
        }
    }

    fn flush(&mut self) -> hdf5::Result<()> {
        let more = self.pending.len() / self.width;
        if more == 0 {
            return Ok(());
        }
        let (from, to) = (self.written, self.written + more);
        if self.flat {
            self.set.resize((to,))?;
            self.set
                .write_slice(ArrayView1::from(&self.pending), from..to)?;
        } else {
            self.set.resize((to, self.width))?;
            let rows = ArrayView2::from_shape((more, self.width), &self.pending)?;
            self.set.write_slice(rows, (from..to, ..))?;
        }
        self.written = to;
        self.pending.clear();
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct Columns {
    pub(super) observations: Column<f32>,
    pub(super) next_observations: Option<Column<f32>>,
    pub(super) actions: Column<f32>,
    rewards: Column<f32>,
    terminals: Column<bool>,
    timeouts: Option<Column<bool>>,
    pub(super) qpos: Option<Column<f64>>,
    pub(super) qvel: Option<Column<f64>>,
    /// What else is in `infos`, by name.
    pub(super) infos: Vec<(&'static str, Column<f32>)>,
}

impl Columns {
    pub(super) fn create(file: &hdf5::File, shape: Shape) -> hdf5::Result<Self> {
        let infos = group(file, "infos")?;
        let state = |name, width: usize| {
            (width > 0)
                .then(|| Column::matrix(&infos, name, width))
                .transpose()
        };
        let next = || Column::matrix(file, "next_observations", shape.obs_dim);
        Ok(Self {
            observations: Column::matrix(file, "observations", shape.obs_dim)?,
            next_observations: shape.next_observations.then(next).transpose()?,
            actions: Column::matrix(file, "actions", shape.act_dim)?,
            rewards: Column::flat(file, "rewards")?,
            terminals: Column::flat(file, "terminals")?,
            timeouts: shape
                .timeouts
                .then(|| Column::flat(file, "timeouts"))
                .transpose()?,
            qpos: state("qpos", shape.nq)?,
            qvel: state("qvel", shape.nv)?,
            infos: Vec::new(),
        })
    }

    /// Adds `infos/NAME`, `[rows, width]`.
    pub(super) fn add_info(
        &mut self,
        file: &hdf5::File,
        name: &'static str,
        width: usize,
    ) -> hdf5::Result<()> {
        let column = Column::matrix(&file.group("infos")?, name, width)?;
        self.infos.push((name, column));
        Ok(())
    }

    pub(super) fn push(&mut self, row: &Row<'_>, infos: &[&[f32]]) {
        for ((_, column), values) in self.infos.iter_mut().zip(infos) {
            column.pending.extend_from_slice(values);
        }
        self.observations.pending.extend_from_slice(row.obs);
        if let Some(next) = &mut self.next_observations {
            next.pending.extend_from_slice(row.next_obs);
        }
        self.actions.pending.extend_from_slice(row.action);
        self.rewards.pending.push(row.reward);
        self.terminals.pending.push(row.terminal);
        if let Some(timeouts) = &mut self.timeouts {
            timeouts.pending.push(row.timeout);
        }
        for (column, values) in [(&mut self.qpos, row.qpos), (&mut self.qvel, row.qvel)] {
            if let Some(column) = column {
                column.pending.extend_from_slice(values);
            }
        }
    }

    pub(super) fn flush(&mut self) -> hdf5::Result<()> {
        self.observations.flush()?;
        if let Some(next) = &mut self.next_observations {
            next.flush()?;
        }
        self.actions.flush()?;
        self.rewards.flush()?;
        self.terminals.flush()?;
        if let Some(timeouts) = &mut self.timeouts {
            timeouts.flush()?;
        }
        for column in [&mut self.qpos, &mut self.qvel].into_iter().flatten() {
            column.flush()?;
        }
        for (_, column) in &mut self.infos {
            column.flush()?;
        }
        Ok(())
    }
}
