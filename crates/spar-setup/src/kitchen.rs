//! The kitchen's models, many files of one wheel.

use crate::{
    adroit::ROBOTICS,
    parts::{Content, Part, PinnedFile},
};

/// The model of D4RL's kitchen.
pub const KITCHEN: Part = Part {
    name: "the kitchen's models",
    wheel: ROBOTICS,
    content: Content::Files(&[
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/kitchen_franka/kitchen_assets/kitchen_env_model.xml",
            place: "models/kitchen_franka/kitchen_assets/kitchen_env_model.xml",
            sha256: "890ebb55ed1f1e2dcb2d0c3374f88d21e1e11a1b3688049ade44aa7b1df379c3",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/kitchen_franka/kitchen_assets/basic_scene.xml",
            place: "models/kitchen_franka/kitchen_assets/basic_scene.xml",
            sha256: "00a84e1e30f0c63c900455428cdc9f34df90f4eb1afed33ccb523ebf5beb308c",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/kitchen_franka/kitchen_assets/item_assets/oven_asset.xml",
            place: "models/kitchen_franka/kitchen_assets/item_assets/oven_asset.xml",
            sha256: "73ec926d98a8a0a6342a575a55ef5e60e76f69d5ee8d427655469d97b1d1f466",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/kitchen_franka/kitchen_assets/item_assets/oven_chain.xml",
            place: "models/kitchen_franka/kitchen_assets/item_assets/oven_chain.xml",
            sha256: "5628cc2f5d04b358c05bbf0d47aafda2319cc7f4abec6c11b0da13701f055237",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/kitchen_franka/kitchen_assets/item_assets/counters_asset.xml",
            place: "models/kitchen_franka/kitchen_assets/item_assets/counters_asset.xml",
            sha256: "faca68c31d4b8bdb551a43922168c1585f08cca73a6994886c98adb3f3046281",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/kitchen_franka/kitchen_assets/item_assets/counters_chain.xml",
            place: "models/kitchen_franka/kitchen_assets/item_assets/counters_chain.xml",
            sha256: "8d98e1c2aab79fac86f70bdf4e995159592439584e68096529c8bc8e0d579cc2",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/kitchen_franka/kitchen_assets/item_assets/backwall_asset.xml",
            place: "models/kitchen_franka/kitchen_assets/item_assets/backwall_asset.xml",
            sha256: "e31467a54e82f1076457bb1e997742ecb49b7f6b2d878464f3585bc5532be86a",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/kitchen_franka/kitchen_assets/item_assets/backwall_chain.xml",
            place: "models/kitchen_franka/kitchen_assets/item_assets/backwall_chain.xml",
            sha256: "62fe7a0a24c7ccdd80a9ee1cceda483007ada77c17a4476b5693e1b08f908d3c",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/kitchen_franka/kitchen_assets/item_assets/slidecabinet_asset.xml",
            place: "models/kitchen_franka/kitchen_assets/item_assets/slidecabinet_asset.xml",
            sha256: "d56ed49206371d26f0c486c28826ee519f26815d52a51d090e51ec37127d6a81",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/kitchen_franka/kitchen_assets/item_assets/slidecabinet_chain.xml",
            place: "models/kitchen_franka/kitchen_assets/item_assets/slidecabinet_chain.xml",
            sha256: "7340c05ba0c5c044f820e4f720cb79e9a2d94ae691f285a5dcd43448da4f7aad",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/kitchen_franka/kitchen_assets/item_assets/hingecabinet_asset.xml",
            place: "models/kitchen_franka/kitchen_assets/item_assets/hingecabinet_asset.xml",
            sha256: "8d2feebfc9f5b4eef8fb7f06313f970bc84b081263f49a42eb1622a24f4bb26d",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/kitchen_franka/kitchen_assets/item_assets/hingecabinet_chain.xml",
            place: "models/kitchen_franka/kitchen_assets/item_assets/hingecabinet_chain.xml",
            sha256: "110b6890c1c62baf60c63b898a948517f523432ea0d6c0a334b8b857ff6aa0b1",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/kitchen_franka/kitchen_assets/item_assets/microwave_asset.xml",
            place: "models/kitchen_franka/kitchen_assets/item_assets/microwave_asset.xml",
            sha256: "5b840bc1f9c47b1913a65d813bc26bafd214b06b28c9a864231529542a7de777",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/kitchen_franka/kitchen_assets/item_assets/microwave_chain.xml",
            place: "models/kitchen_franka/kitchen_assets/item_assets/microwave_chain.xml",
            sha256: "00142e4105290e86ef9f77bde0554ec83ba2f7ee53eb7a213bc44bd73ccdfdd3",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/kitchen_franka/kitchen_assets/item_assets/kettle_asset.xml",
            place: "models/kitchen_franka/kitchen_assets/item_assets/kettle_asset.xml",
            sha256: "57eb2d4977209c56aa204b94f819c8ca4aadfc1f8b38b012a102422a154a7051",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/kitchen_franka/kitchen_assets/item_assets/kettle_chain.xml",
            place: "models/kitchen_franka/kitchen_assets/item_assets/kettle_chain.xml",
            sha256: "4c05abe7f15f478633c3115ecd1087715802b3cf24a4b9eaa6ebbc0ce2dd9ba4",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/kitchen_franka/franka_assets/assets.xml",
            place: "models/kitchen_franka/franka_assets/assets.xml",
            sha256: "b6d2adc309f01d338c28a3dfb2a854240d421a6834177dcfc4e2de505f5760ad",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/kitchen_franka/franka_assets/actuator.xml",
            place: "models/kitchen_franka/franka_assets/actuator.xml",
            sha256: "11f2bcc7b3c237742f3207bf02193620def92421f2e334754ef46845c30c940b",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/kitchen_franka/franka_assets/chain.xml",
            place: "models/kitchen_franka/franka_assets/chain.xml",
            sha256: "34a7638a492ed942ab2c8204855181f3d419601c0a2235fc5fef9cacf8323458",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/kitchen_franka/franka_assets/meshes/collision/link0.stl",
            place: "models/kitchen_franka/franka_assets/meshes/collision/link0.stl",
            sha256: "dfc6d94330de8ddb005b311bfdba9f3b8e1aa7c256b71592ee7ff32cb9a9a5aa",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/kitchen_franka/franka_assets/meshes/collision/link1.stl",
            place: "models/kitchen_franka/franka_assets/meshes/collision/link1.stl",
            sha256: "e41a39a94108fcf56aacff603fc91ec80541f4c1af17b51a0de5617f5566e6d2",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/kitchen_franka/franka_assets/meshes/collision/link2.stl",
            place: "models/kitchen_franka/franka_assets/meshes/collision/link2.stl",
            sha256: "370f7605a0fae3529db169ded50f52f171024aa792d4d773bc84197301f6a039",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/kitchen_franka/franka_assets/meshes/collision/link3.stl",
            place: "models/kitchen_franka/franka_assets/meshes/collision/link3.stl",
            sha256: "0a8d638b9349c6c0eefc4e888636ac4838c4b27170f18a51699321118af709c1",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/kitchen_franka/franka_assets/meshes/collision/link4.stl",
            place: "models/kitchen_franka/franka_assets/meshes/collision/link4.stl",
            sha256: "0180ebb5772ec9840cb049750cffb29a9ddc90311752a16ea34757782ef9e48d",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/kitchen_franka/franka_assets/meshes/collision/link5.stl",
            place: "models/kitchen_franka/franka_assets/meshes/collision/link5.stl",
            sha256: "dd17e688c7870e722283525879643d53a74c0024d328b0e14b034b54c8b6c31a",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/kitchen_franka/franka_assets/meshes/collision/link6.stl",
            place: "models/kitchen_franka/franka_assets/meshes/collision/link6.stl",
            sha256: "20b768e99a0e0440b5754dcca108016434e57937cc356acd9c352ccd3cb27f77",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/kitchen_franka/franka_assets/meshes/collision/link7.stl",
            place: "models/kitchen_franka/franka_assets/meshes/collision/link7.stl",
            sha256: "92ac6afcf7574c034d3170d8a68e95ac9048ab9d0dd5bbd8311b86e551b9ab1c",
        },
        PinnedFile {
            member: "gymnasium_robotics/envs/assets/kitchen_franka/franka_assets/meshes/collision/hand.stl",
            place: "models/kitchen_franka/franka_assets/meshes/collision/hand.stl",
            sha256: "94493e94f30fe940f2c8ca2f155c3bbe67bbff406d3edf5e261670d2f0f6e2ed",
        },
    ]),
    instead: "",
};
