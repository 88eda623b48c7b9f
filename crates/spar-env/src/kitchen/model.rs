//! The kitchen's model: files of gymnasium-robotics 1.4.2, edited.
//!
//! Nothing that is only seen is compiled, which makes the model eighty times smaller and steps
//! half as long again as fast. The robot's pedestal touches nothing, as in D4RL: there it is
//! only seen, in gymnasium-robotics the arm collides with it.

use crate::{
    EnvError,
    mujoco::{self, Library, Model},
};

/// Folder of the files below that of all models.
const FOLDER: &str = "kitchen_franka";

const MAIN: (&str, &str) = (
    "kitchen_assets/kitchen_env_model.xml",
    "890ebb55ed1f1e2dcb2d0c3374f88d21e1e11a1b3688049ade44aa7b1df379c3",
);

/// Files that the main file includes or names. MuJoCo finds them by their base names: of the
/// meshes, which are there twice, these are the ones that collide.
#[rustfmt::skip] // a table: one row a file
const SHARED: [(&str, &str); 27] = [
    ("kitchen_assets/basic_scene.xml", "00a84e1e30f0c63c900455428cdc9f34df90f4eb1afed33ccb523ebf5beb308c"),
    ("kitchen_assets/item_assets/oven_asset.xml", "73ec926d98a8a0a6342a575a55ef5e60e76f69d5ee8d427655469d97b1d1f466"),
    ("kitchen_assets/item_assets/oven_chain.xml", "5628cc2f5d04b358c05bbf0d47aafda2319cc7f4abec6c11b0da13701f055237"),
    ("kitchen_assets/item_assets/counters_asset.xml", "faca68c31d4b8bdb551a43922168c1585f08cca73a6994886c98adb3f3046281"),
    ("kitchen_assets/item_assets/counters_chain.xml", "8d98e1c2aab79fac86f70bdf4e995159592439584e68096529c8bc8e0d579cc2"),
    ("kitchen_assets/item_assets/backwall_asset.xml", "e31467a54e82f1076457bb1e997742ecb49b7f6b2d878464f3585bc5532be86a"),
    ("kitchen_assets/item_assets/backwall_chain.xml", "62fe7a0a24c7ccdd80a9ee1cceda483007ada77c17a4476b5693e1b08f908d3c"),
    ("kitchen_assets/item_assets/slidecabinet_asset.xml", "d56ed49206371d26f0c486c28826ee519f26815d52a51d090e51ec37127d6a81"),
    ("kitchen_assets/item_assets/slidecabinet_chain.xml", "7340c05ba0c5c044f820e4f720cb79e9a2d94ae691f285a5dcd43448da4f7aad"),
    ("kitchen_assets/item_assets/hingecabinet_asset.xml", "8d2feebfc9f5b4eef8fb7f06313f970bc84b081263f49a42eb1622a24f4bb26d"),
    ("kitchen_assets/item_assets/hingecabinet_chain.xml", "110b6890c1c62baf60c63b898a948517f523432ea0d6c0a334b8b857ff6aa0b1"),
    ("kitchen_assets/item_assets/microwave_asset.xml", "5b840bc1f9c47b1913a65d813bc26bafd214b06b28c9a864231529542a7de777"),
    ("kitchen_assets/item_assets/microwave_chain.xml", "00142e4105290e86ef9f77bde0554ec83ba2f7ee53eb7a213bc44bd73ccdfdd3"),
    ("kitchen_assets/item_assets/kettle_asset.xml", "57eb2d4977209c56aa204b94f819c8ca4aadfc1f8b38b012a102422a154a7051"),
    ("kitchen_assets/item_assets/kettle_chain.xml", "4c05abe7f15f478633c3115ecd1087715802b3cf24a4b9eaa6ebbc0ce2dd9ba4"),
    ("franka_assets/assets.xml", "b6d2adc309f01d338c28a3dfb2a854240d421a6834177dcfc4e2de505f5760ad"),
    ("franka_assets/actuator.xml", "11f2bcc7b3c237742f3207bf02193620def92421f2e334754ef46845c30c940b"),
    ("franka_assets/chain.xml", "34a7638a492ed942ab2c8204855181f3d419601c0a2235fc5fef9cacf8323458"),
    ("franka_assets/meshes/collision/link0.stl", "dfc6d94330de8ddb005b311bfdba9f3b8e1aa7c256b71592ee7ff32cb9a9a5aa"),
    ("franka_assets/meshes/collision/link1.stl", "e41a39a94108fcf56aacff603fc91ec80541f4c1af17b51a0de5617f5566e6d2"),
    ("franka_assets/meshes/collision/link2.stl", "370f7605a0fae3529db169ded50f52f171024aa792d4d773bc84197301f6a039"),
    ("franka_assets/meshes/collision/link3.stl", "0a8d638b9349c6c0eefc4e888636ac4838c4b27170f18a51699321118af709c1"),
    ("franka_assets/meshes/collision/link4.stl", "0180ebb5772ec9840cb049750cffb29a9ddc90311752a16ea34757782ef9e48d"),
    ("franka_assets/meshes/collision/link5.stl", "dd17e688c7870e722283525879643d53a74c0024d328b0e14b034b54c8b6c31a"),
    ("franka_assets/meshes/collision/link6.stl", "20b768e99a0e0440b5754dcca108016434e57937cc356acd9c352ccd3cb27f77"),
    ("franka_assets/meshes/collision/link7.stl", "92ac6afcf7574c034d3170d8a68e95ac9048ab9d0dd5bbd8311b86e551b9ab1c"),
    ("franka_assets/meshes/collision/hand.stl", "94493e94f30fe940f2c8ca2f155c3bbe67bbff406d3edf5e261670d2f0f6e2ed"),
];

const EDITS: [(&str, &str); 1] = [(
    "<geom type='cylinder' size='.120 .90' ",
    "<geom type='cylinder' contype=\"0\" conaffinity=\"0\" size='.120 .90' ",
)];

/// Compiles the model.
///
/// # Errors
/// If a file is missing or is another one, or if MuJoCo refuses the model.
pub(super) fn compile(library: &'static Library) -> Result<Model, EnvError> {
    let file = |name: &str, sha256: &str| mujoco::model_file(&format!("{FOLDER}/{name}"), sha256);
    let (path, xml) = file(MAIN.0, MAIN.1)?;
    let refused = |why: String| EnvError::Model {
        path: path.clone(),
        why,
    };
    let xml = String::from_utf8(xml).map_err(|e| refused(e.to_string()))?;
    let xml = mujoco::edited(&xml, &EDITS).map_err(refused)?;
    let shared = SHARED.iter().map(|&(name, sha256)| {
        let (_, bytes) = file(name, sha256)?;
        let base = name.rsplit('/').next().unwrap_or(name);
        Ok((base, bytes))
    });
    let shared = shared.collect::<Result<Vec<_>, EnvError>>()?;
    Model::parse(library, xml.as_bytes(), &shared, &path)
}
