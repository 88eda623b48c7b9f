//! The hand's models, many files of one wheel.

use crate::parts::{Content, Part, PinnedFile, Wheel};

/// Where both robots' models come from, adroit's and the kitchen's.
pub(crate) const ROBOTICS: Wheel = Wheel {
    requirement: "gymnasium-robotics==1.4.2",
    platform: "any",
    sha256: "a1743530431cb377e6b3b956d284bc96436fc68bac1648ef205054c178e7dc4b",
};

/// The models of D4RL's adroit.
pub const ADROIT: Part = Part {
    name: "the models of adroit's hand",
    wheel: ROBOTICS,
    content: Content::Files(&[
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/adroit_hand/adroit_pen.xml",
            place: "models/adroit_hand/adroit_pen.xml",
            sha256: "20d5b6b4a24dc25fddca593d1f61107953a9e21ff2982c8065b0ba28b3250bdf",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/adroit_hand/adroit_door.xml",
            place: "models/adroit_hand/adroit_door.xml",
            sha256: "f321cd130b1e430fe2b80da6084c549f364a2bd1bc13893138a857645b6ead5c",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/adroit_hand/adroit_hammer.xml",
            place: "models/adroit_hand/adroit_hammer.xml",
            sha256: "a5c7dc31bccffbebc3ec43d17d00156d66a487789308215a1c258a57bb0ba89d",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/adroit_hand/adroit_relocate.xml",
            place: "models/adroit_hand/adroit_relocate.xml",
            sha256: "1f166ebd05f62bdffdafb9aec4bfeb464fdeaa61185b7829dac3da274e208a45",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/adroit_hand/adroit_model.xml",
            place: "models/adroit_hand/adroit_model.xml",
            sha256: "680af02828ee4fe9ef5a56f8a4d9020d2ea15a99768b2bda770d22e67e187a02",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/adroit_hand/adroit_assets.xml",
            place: "models/adroit_hand/adroit_assets.xml",
            sha256: "29f9f05bf6d738b44c3927ec01aa30c259db388dd115ed9597930be119f3ac79",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/adroit_hand/resources/meshes/forearm_simple.stl",
            place: "models/adroit_hand/resources/meshes/forearm_simple.stl",
            sha256: "cb5a4f8d1c1427ebfe7d6ca8d129cae2f8612d15afe99c8cf709b7cf96a690c3",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/adroit_hand/resources/meshes/wrist.stl",
            place: "models/adroit_hand/resources/meshes/wrist.stl",
            sha256: "47d0f252ae456541993746ff76d7022135b1bf54263f8f83b19d61f6f94871c9",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/adroit_hand/resources/meshes/palm.stl",
            place: "models/adroit_hand/resources/meshes/palm.stl",
            sha256: "12593bcba03bbf278cd7d7db3ca79ba753ada3cb58ee93e725603e9b5e29fd0c",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/adroit_hand/resources/meshes/lfmetacarpal.stl",
            place: "models/adroit_hand/resources/meshes/lfmetacarpal.stl",
            sha256: "b6901da4d4b93059c02b8803650ad484b3f31aebce46badfa411897d521a4877",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/adroit_hand/resources/meshes/knuckle.stl",
            place: "models/adroit_hand/resources/meshes/knuckle.stl",
            sha256: "a8a9c1659aa4391291531b46997ba5eeda1b36e597070ae8a3cd824159937aae",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/adroit_hand/resources/meshes/F3.stl",
            place: "models/adroit_hand/resources/meshes/F3.stl",
            sha256: "d11a521ae498e947491ba947df8f999136fdf1401d1ba86d594eec20da656ad1",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/adroit_hand/resources/meshes/F2.stl",
            place: "models/adroit_hand/resources/meshes/F2.stl",
            sha256: "0eeb932dcc102dd1fc6bef55fe83f6a74d97aebd32c34d6ee7020c19647306c5",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/adroit_hand/resources/meshes/F1.stl",
            place: "models/adroit_hand/resources/meshes/F1.stl",
            sha256: "a2d35742067f71e4888954d1aa55d043dbc6ec0c63f4cc715f339cb45fd13734",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/adroit_hand/resources/meshes/TH3_z.stl",
            place: "models/adroit_hand/resources/meshes/TH3_z.stl",
            sha256: "80aae0002a6684428278cf214a31040f7cd7aeb3e2e648bd4b68baa375c2d2ad",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/adroit_hand/resources/meshes/TH2_z.stl",
            place: "models/adroit_hand/resources/meshes/TH2_z.stl",
            sha256: "98e26cf013cd8d7f6ed890d3402ba0aceb11ec5c78779e388390ca2cddc7daf2",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/adroit_hand/resources/meshes/TH1_z.stl",
            place: "models/adroit_hand/resources/meshes/TH1_z.stl",
            sha256: "83fd93c9e4c1bf240aa6def2e5fdf5b1adcf4e341c146b05313aeaa8c54fd36a",
        },
    ]),
    instead: "",
};
