//! The hand's models: files of gymnasium-robotics 1.4.2, edited.
//!
//! D4RL moves one body of each model before an episode by writing into the compiled model.
//! Here that body is a mocap body, whose place is a part of the simulation's state: the
//! trajectories are the same to the bit. Nothing that is only seen is compiled.

use crate::{
    EnvError,
    mujoco::{self, Library, Model},
};

/// Folder of the files below that of all models.
const FOLDER: &str = "adroit_hand";

/// Which mocap body moves; the first of each model is `vive_tracker`.
pub(super) const MOVED: usize = 1;

/// Files that every main file includes or names.
#[rustfmt::skip] // a table: one row a file
const SHARED: [(&str, &str); 13] = [
    ("adroit_model.xml", "680af02828ee4fe9ef5a56f8a4d9020d2ea15a99768b2bda770d22e67e187a02"),
    ("adroit_assets.xml", "29f9f05bf6d738b44c3927ec01aa30c259db388dd115ed9597930be119f3ac79"),
    ("forearm_simple.stl", "cb5a4f8d1c1427ebfe7d6ca8d129cae2f8612d15afe99c8cf709b7cf96a690c3"),
    ("wrist.stl", "47d0f252ae456541993746ff76d7022135b1bf54263f8f83b19d61f6f94871c9"),
    ("palm.stl", "12593bcba03bbf278cd7d7db3ca79ba753ada3cb58ee93e725603e9b5e29fd0c"),
    ("lfmetacarpal.stl", "b6901da4d4b93059c02b8803650ad484b3f31aebce46badfa411897d521a4877"),
    ("knuckle.stl", "a8a9c1659aa4391291531b46997ba5eeda1b36e597070ae8a3cd824159937aae"),
    ("F3.stl", "d11a521ae498e947491ba947df8f999136fdf1401d1ba86d594eec20da656ad1"),
    ("F2.stl", "0eeb932dcc102dd1fc6bef55fe83f6a74d97aebd32c34d6ee7020c19647306c5"),
    ("F1.stl", "a2d35742067f71e4888954d1aa55d043dbc6ec0c63f4cc715f339cb45fd13734"),
    ("TH3_z.stl", "80aae0002a6684428278cf214a31040f7cd7aeb3e2e648bd4b68baa375c2d2ad"),
    ("TH2_z.stl", "98e26cf013cd8d7f6ed890d3402ba0aceb11ec5c78779e388390ca2cddc7daf2"),
    ("TH1_z.stl", "83fd93c9e4c1bf240aa6def2e5fdf5b1adcf4e341c146b05313aeaa8c54fd36a"),
];

/// The main file of a task and what is edited in it.
pub(super) struct Main {
    file: &'static str,
    sha256: &'static str,
    edits: &'static [(&'static str, &'static str)],
}

pub(super) const PEN: Main = Main {
    file: "adroit_pen.xml",
    sha256: "20d5b6b4a24dc25fddca593d1f61107953a9e21ff2982c8065b0ba28b3250bdf",
    edits: &[(
        "<body name=\"target\" ",
        "<body name=\"target\" mocap=\"true\" ",
    )],
};

pub(super) const DOOR: Main = Main {
    file: "adroit_door.xml",
    sha256: "f321cd130b1e430fe2b80da6084c549f364a2bd1bc13893138a857645b6ead5c",
    edits: &[(
        "<body name=\"frame\" ",
        "<body name=\"frame\" mocap=\"true\" ",
    )],
};

pub(super) const HAMMER: Main = Main {
    file: "adroit_hammer.xml",
    sha256: "a5c7dc31bccffbebc3ec43d17d00156d66a487789308215a1c258a57bb0ba89d",
    edits: &[(
        "<body name=\"nail_board\" ",
        "<body name=\"nail_board\" mocap=\"true\" ",
    )],
};

/// The ball has joints of its own, so a body around it moves.
pub(super) const RELOCATE: Main = Main {
    file: "adroit_relocate.xml",
    sha256: "1f166ebd05f62bdffdafb9aec4bfeb464fdeaa61185b7829dac3da274e208a45",
    edits: &[
        (
            "<body name=\"Object\" ",
            "<body name=\"Object_place\" mocap=\"true\" pos=\"0 0 0\"><body name=\"Object\" ",
        ),
        ("</worldbody>", "</body></worldbody>"),
    ],
};

/// Compiles the model of a task.
///
/// # Errors
/// If a file is missing or is another one, or if MuJoCo refuses the model.
pub(super) fn compile(library: &'static Library, main: &Main) -> Result<Model, EnvError> {
    let file = |name: &str, sha256: &str| {
        let folder = if name.ends_with(".stl") {
            "resources/meshes/"
        } else {
            ""
        };
        mujoco::model_file(&format!("{FOLDER}/{folder}{name}"), sha256)
    };
    let (path, xml) = file(main.file, main.sha256)?;
    let refused = |why: String| EnvError::Model {
        path: path.clone(),
        why,
    };
    let xml = String::from_utf8(xml).map_err(|e| refused(e.to_string()))?;
    let xml = mujoco::edited(&xml, main.edits).map_err(refused)?;
    let shared = SHARED.iter().map(|&(name, sha256)| {
        let (_, bytes) = file(name, sha256)?;
        Ok((name, bytes))
    });
    let shared = shared.collect::<Result<Vec<_>, EnvError>>()?;
    Model::parse(library, xml.as_bytes(), &shared, &path)
}
